"""Fixtures of the tests of classify, sentiment and filter: a backend whose scores follow from words in the text."""

from __future__ import annotations

import math

import pytest
from llm_fixtures import llm, terminal
from scripted import last_message

from llmcli.errors import InternalError

__all__ = ["label_scores", "llm", "statement_scores", "terminal", "write"]


def _label_scores(request):
    """A label is nine times as likely if the text names it; a text with "boom" fails."""
    text = last_message(request).rpartition("Text:")[2]
    if "boom" in text:
        return InternalError(detail="boom")
    return {label: math.log(0.9 if label in text else 0.1) for label in request.candidates}


def _statement_scores(request):
    """A statement holds (0.9) if its last word stands in the text; a text with "boom" fails."""
    asked = last_message(request)
    text = asked.partition("Text: ")[2].rpartition("\n\n")[0]
    words = asked.partition("Statement: ")[2].partition("\n")[0].split() or asked.partition('"')[2].split('"')
    if "boom" in text:
        return InternalError(detail="boom")
    share = 0.5 if text in {"N/A", "", "[MASK]"} else 0.9 if words[-1 if "Statement" in asked else 0] in text else 0.1
    return {"yes": math.log(share), "no": math.log(1 - share)}


@pytest.fixture
def label_scores():
    """Return the answers of a backend that scores labels."""
    return _label_scores


@pytest.fixture
def statement_scores():
    """Return the answers of a backend that scores yes and no."""
    return _statement_scores


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file and returns its path."""

    def file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return file
