"""Statements about where an output comes from, and the key of their digests."""
