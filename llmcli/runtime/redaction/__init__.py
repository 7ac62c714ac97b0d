"""Redaction in one run: which servers get private values, and the model on this machine that finds names."""
