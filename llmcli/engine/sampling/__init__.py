"""Choosing the next token: samplers, grammars, log-probabilities."""
