"""A request as a sequence of tokens, and drafts of its next tokens."""
