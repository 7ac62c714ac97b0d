"""What a user without a model of their own sees: the question which one to download, and what the starter is."""
