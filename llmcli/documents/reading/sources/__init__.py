"""Readers of document formats: bytes become sections of text; ``source_reader`` finds the reader of an input."""
