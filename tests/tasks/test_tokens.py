"""The count of tokens: long texts are counted in pieces whose borders change nothing."""

from __future__ import annotations

import re

import pytest
from scripted import ScriptedBackend

from llmcli.tasks import tokens
from llmcli.tasks.tokens import TokenCounter

TEXTS = {
    "words": "The quick brown fox jumps over the lazy dog. " * 40,
    "paragraphs": "One line.\n\n\n  Another one, which is longer.\n\n" * 40,
    "code": "def f(x):\n\t\treturn   x  # why\n\n\n" * 40,
}


def split_like_bpe(text):
    """Return tokens that depend on their surroundings: words with the space before them, runs of white space."""
    return re.findall(r" ?\w{1,4}|\w{1,4}| ?[^\s\w]+|\s+(?!\S)|\s+", text)


def counter(**how):
    return TokenCounter(ScriptedBackend(tokens=lambda text: len(split_like_bpe(text)), **how))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("size", [60, 101, 500])
def test_passages_have_the_tokens_of_the_whole(monkeypatch, text, size):
    """Wherever a text is cut, and in whatever blocks it comes."""
    whole = len(split_like_bpe(text))
    monkeypatch.setattr(tokens, "_PASSAGE_CHARACTERS", size)
    assert counter().count([text]) == (whole, True)
    half = text.index(" ", len(text) // 2)
    assert counter().count([text[:half], text[half:]]) == (whole, True)


def test_no_request_is_longer_than_a_piece():
    """A backend need not tokenize a text as a whole to refuse it."""
    backend = ScriptedBackend()
    longest = 0

    def measure(text):
        nonlocal longest
        longest = max(longest, len(text))
        return len(text.split())

    backend.tokens = measure
    assert TokenCounter(backend).count(["word " * 100_000]) == (100_000, True)
    assert longest <= 65_536  # the engine returns a lower bound for longer texts


def test_a_word_that_is_cut_is_not_exact(monkeypatch):
    """Nothing is known about the tokens of a word that is too long to be counted at once."""
    monkeypatch.setattr(tokens, "_PASSAGE_CHARACTERS", 100)
    assert counter().count(["x" * 1000])[1] is False


def test_estimates_are_not_exact():
    """The backend says so."""
    assert counter(exact=False).count(["two words"]) == (3, False)
