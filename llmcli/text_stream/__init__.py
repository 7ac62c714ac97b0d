"""Streamed text: what is decided about a piece before it is shown."""
