"""Fixtures of the tests of classify, sentiment and filter: a backend whose scores follow from words in the text."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from llm_fixtures import llm, terminal, write
from scripted import last_message

from llmcli.errors import InternalError
from llmcli.prompts.prompt_library import PromptLibrary

_CONTENT_FREE = PromptLibrary(Path("/nonexistent")).get("filter").content_free
_SHARP = 1.5
"""The temperature of the built-in prompts, so that probabilities are 0.9 and 0.1."""
__all__ = ["label_scores", "llm", "statement_scores", "terminal", "write"]


def _label_scores(request):
    """A label is nine times as likely if the text names it; a text with "boom" fails."""
    text = last_message(request).rpartition("Text:")[2]
    if "boom" in text:
        return InternalError(detail="boom")
    return {label: math.log(0.9 if label in text else 0.1) * _SHARP for label in request.candidates}


def _statement_scores(request):
    """A statement, or a label, holds (0.9) if its last word stands in the text; a text with "boom" fails."""
    text = last_message(request).rpartition("Text: ")[2].rpartition("\n")[0]
    if "boom" in text:
        return InternalError(detail="boom")
    *names, other = request.candidates
    if text in _CONTENT_FREE:
        return dict.fromkeys(request.candidates, -1.0)
    return {other: 0.0, **{name: math.log(9.0) * _SHARP * (1 if name.split()[-1] in text else -1) for name in names}}


@pytest.fixture
def label_scores():
    """Return the answers of a backend that scores labels."""
    return _label_scores


@pytest.fixture
def statement_scores():
    """Return the answers of a backend that scores yes and no."""
    return _statement_scores
