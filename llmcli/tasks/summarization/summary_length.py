"""The length of a summary, and whether it is about the requested one."""

from __future__ import annotations

import re

WORDS_TOLERANCE = 0.2
"""A summary whose length differs from the wanted one by a larger share has missed it."""
_WORD = re.compile(r"[^\W_]+(?:['\u2019.,-][^\W_]+)*")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_CHARS_PER_CJK_WORD = 2


def count_words(text: str) -> int:
    """Return the number of words; two Chinese or Japanese characters count as one."""
    without, characters = _CJK.subn(" ", text)
    return len(_WORD.findall(without)) + -(-characters // _CHARS_PER_CJK_WORD)


def length_warning(text: str, words: int | None) -> str:
    """Return a warning about a summary that is not about ``words`` words long; "" if it is, or if None was wanted."""
    if words is None:
        return ""
    length = count_words(text)
    if abs(length - words) <= WORDS_TOLERANCE * words:
        return ""
    return f"the summary has {length:,} words, not about {words:,}"
