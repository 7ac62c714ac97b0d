"""Formats of documents that are ZIP archives of XML files."""
