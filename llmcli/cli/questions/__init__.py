"""What ``llm ask`` does with documents, indexes and tables."""
