"""Marks around a text in a prompt, which the text cannot end itself."""

from __future__ import annotations

import re

_QUOTATION_MARKS = re.compile(r'"+')


def text_fence(text: str) -> str:
    """Return quotation marks, three or more, of which ``text`` has no such run: they stand before and after it."""
    longest = max(map(len, _QUOTATION_MARKS.findall(text)), default=0)
    return '"' * max(3, longest + 1)
