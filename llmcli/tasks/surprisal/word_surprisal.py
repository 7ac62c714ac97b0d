"""The surprisal of words: -log2 of their probability, given the text before them, summed over their tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.sentences import UNSPACED_CHARACTERS
from llmcli.frozen_dataclass import frozen
from llmcli.types import Score

NATS_PER_BIT = math.log(2)
_LETTER = f"[^\\W_{UNSPACED_CHARACTERS}]"
_WORD = re.compile(f"[{UNSPACED_CHARACTERS}]|{_LETTER}+(?:['\u2019\u02bc]{_LETTER}+)*")


@frozen
class WordSurprisal:
    """The word ``text[start:end]`` has ``bits`` of surprisal."""

    start: int
    end: int
    bits: float


def find_words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the offsets of the words in ``text[start:end]`` that have a letter and are not code, addresses or tags."""
    spans = iter(find_spans(text[start:end], PLAIN_TEXT_KINDS))
    span = next(spans, None)
    words = []
    for match in _WORD.finditer(text, start, end):
        while span is not None and span.end + start <= match.start():
            span = next(spans, None)
        if (span is None or match.end() <= span.start + start) and any(map(str.isalpha, match[0])):
            words.append(match.span())
    return words


def score_words(start: int, score: Score, words: Sequence[tuple[int, int]]) -> Iterator[WordSurprisal]:
    """Yield the surprisal of each of ``words``, which stand in the text from ``start`` on that ``score`` is about.

    A token belongs to the first word that it touches; the tokens of white space and marks belong to none.
    """
    owners = _owners(score.candidate, start, words)
    bits = [0.0] * len(words)
    at = len(owners) - sum(score.token_bytes)  # negative if the first token begins before the candidate
    for size, logprob in zip(score.token_bytes, score.token_logprobs, strict=True):
        owner = next((each for each in owners[max(0, at) : max(0, at + size)] if each is not None), None)
        if owner is not None:
            bits[owner] -= logprob / NATS_PER_BIT
        at += size
    for (first, last), value in zip(words, bits, strict=True):
        yield WordSurprisal(first, last, value)


def _owners(candidate: str, start: int, words: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return for each byte of a candidate the index of its word."""
    owner_of: list[int | None] = [None] * len(candidate)
    for index, (first, last) in enumerate(words):
        owner_of[first - start : last - start] = [index] * (last - first)
    if candidate.isascii():
        return owner_of
    sizes = (len(character.encode("utf-8", "replace")) for character in candidate)
    return [owner for owner, size in zip(owner_of, sizes, strict=True) for _ in range(size)]
