"""A long text in windows that fit a context, each with the text before it, so that every token has a context."""

from __future__ import annotations

from collections.abc import Iterator

from llmcli.frozen_dataclass import frozen

WINDOW_BYTES, CONTEXT_BYTES = 2048, 1024
"""Bytes of a window, and of the text before it that is evaluated with it."""
MIN_CONTEXT_TOKENS = 64
"""The smallest context of a model that is used at all."""
_RESERVED_TOKENS = 8
"""For the tokens that a tokenizer adds."""


@frozen
class TextWindow:
    """``text[start:end]``, and where the text before it begins that is its context."""

    context_start: int
    start: int
    end: int


def window_sizes(context_tokens: int) -> tuple[int, int]:
    """Return the bytes of a window and of the text before it, for a model with a context of so many tokens.

    A token has at least one byte, so they fit without being counted.
    """
    available = max(MIN_CONTEXT_TOKENS, context_tokens) - _RESERVED_TOKENS
    scale = min(1.0, available / (WINDOW_BYTES + CONTEXT_BYTES))
    return int(WINDOW_BYTES * scale), int(CONTEXT_BYTES * scale)


def cut_windows(
    text: str, window_bytes: int = WINDOW_BYTES, context_bytes: int = CONTEXT_BYTES, begin: int = 0
) -> Iterator[TextWindow]:
    """Yield the windows of ``text[begin:]`` without the white space around it; together they hold every character once.

    A window ends before white space where there is some, so that no word is divided. What stands before ``begin`` is
    context only.
    """
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    start = max(first, last - len(text[begin:last].lstrip())) if begin < last else last
    while start < last:
        end = min(last, start + _prefix_length(text[start : start + window_bytes], window_bytes))
        if end < last:
            end = _last_blank(text, start, end)
        yield TextWindow(max(first, _context_start(text, start, context_bytes)), start, end)
        start = end


def _prefix_length(text: str, max_bytes: int) -> int:
    """Return how many characters the longest prefix of at most so many bytes has, at least one."""
    return max(1, len(text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")))


def _last_blank(text: str, start: int, end: int) -> int:
    """Return the last position after the middle before which a word ends; ``end`` without one."""
    middle = (start + end) // 2
    at = end
    while at > middle and not text[at].isspace():
        at -= 1
    while at > middle and text[at - 1].isspace():
        at -= 1
    return at if at > middle else end


def _context_start(text: str, start: int, context_bytes: int) -> int:
    """Return where the context of a window begins: at a word, if one begins in its first half."""
    data = text[max(0, start - context_bytes) : start].encode("utf-8", "replace")
    begin = start - len(data[max(0, len(data) - context_bytes) :].decode("utf-8", "ignore"))
    if begin <= 0 or text[begin - 1].isspace():
        return max(0, begin)
    middle = (begin + start) // 2
    at = begin
    while at < middle and not text[at].isspace():
        at += 1
    return at + 1 if at < middle else begin
