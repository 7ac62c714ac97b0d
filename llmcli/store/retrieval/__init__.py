"""Indexes of passages: full-text search by BM25, vectors, and the combination of both."""
