"""Formats with markup: Markdown and HTML."""
