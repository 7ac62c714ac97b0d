"""Fixtures of the runtime's tests, which go through the command line."""

from __future__ import annotations

from llm_fixtures import llm, process, terminal

__all__ = ["llm", "process", "terminal"]
