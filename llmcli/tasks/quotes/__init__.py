"""Quotations: text that a model may only copy from a passage, its place there, and whether it supports a claim."""
