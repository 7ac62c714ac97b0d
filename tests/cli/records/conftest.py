"""Fixtures of the tests of records: a backend whose scores depend on the text alone."""

from __future__ import annotations

import zlib

import pytest
from llm_fixtures import llm, terminal, write
from scripted import last_message

from llmcli.cli.records import job_checkpoint
from llmcli.errors import InternalError

__all__ = ["llm", "scores", "terminal", "write"]


def score(request):
    """Return scores that depend on the text; a text with "boom" fails."""
    text = last_message(request)
    if "boom" in text:
        return InternalError(detail="boom")
    number = zlib.crc32(text.encode())
    return {label: -1.0 - (number >> 4 * place) % 16 / 8 for place, label in enumerate(request.candidates)}


@pytest.fixture
def scores():
    """Return the answers of the backend."""
    return score


@pytest.fixture
def often(monkeypatch):
    """Save a checkpoint after each record."""
    monkeypatch.setattr(job_checkpoint, "_CHECKPOINT_S", 0.0)
    monkeypatch.setattr(job_checkpoint, "_MAX_CHECKPOINT_SHARE", 1e9)
