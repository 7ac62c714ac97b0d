"""``llm ask`` with documents, indexes and tables."""
