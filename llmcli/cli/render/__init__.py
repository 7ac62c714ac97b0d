"""Turning task results into output: plain text, Markdown, JSON, statistics and notices about them."""
