"""Backends answer requests: the protocol and its implementations."""
