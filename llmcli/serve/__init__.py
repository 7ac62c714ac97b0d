"""``llm serve``: OpenAI's protocol for other programs, answered by the workers of this user's models."""
