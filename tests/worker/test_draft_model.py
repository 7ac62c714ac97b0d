"""A draft model in a worker: loaded beside the model, shared by its engines, and an error without harm to either."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import SHORT

ASK = ("ask", "hello", *SHORT)


@pytest.fixture
def draft(shell, tried, tmp_path):
    """Return the file of a draft model for the shell's model."""
    path = Path(shutil.copy(shell.model, tmp_path / "draft.gguf"))
    tried(path)
    return path


def test_one_worker_answers_with_and_without_it(shell, draft):
    """The weights of the model are shared; the draft model belongs to the options of a command."""
    plain, drafted = shell(*ASK), shell(*ASK, "--set", f"draft={draft}", "-v")
    again = shell(*ASK, "--set", f"draft={draft}", "--ctx", "512", "-v")
    assert (plain.code, drafted.code, again.code) == (0, 0, 0), drafted.err + again.err
    assert plain.out == drafted.out == again.out != ""
    assert "draft model draft.gguf: accepted 0 of 0 tokens" in drafted.err
    assert shell.worker()["requests"] == 3


def test_an_unsuitable_one_is_an_error_and_the_worker_goes_on(shell, tiny, tried):
    """Another vocabulary is named before anything is answered."""
    other = tiny("chatml")  # the shell's model has SentencePiece's vocabulary
    tried(other)
    refused = shell(*ASK, "--set", f"draft={other}")
    assert (refused.code, refused.out) == (2, "")
    assert "another kind of vocabulary" in refused.err
    assert len(refused.err.splitlines()) == 2
    assert shell(*ASK).code == 0
