"""Forms of summaries that need more than one call of their task."""
