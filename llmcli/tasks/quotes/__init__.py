"""Quotations: text that a model may only copy from a passage, where it stands there, and whether it supports a claim."""
