"""Anthropic's Messages API: its requests become those of the engine, the engine's events its messages."""
