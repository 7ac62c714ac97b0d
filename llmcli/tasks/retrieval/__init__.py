"""Passages of documents that may answer a question: cutting, indexing, finding and ranking them."""
