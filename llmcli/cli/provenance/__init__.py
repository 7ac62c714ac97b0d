"""Provenance: recorded while a command runs, and read by ``llm verify``."""
