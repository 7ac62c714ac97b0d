"""Marks around a text in a prompt, which the text cannot end itself."""

from __future__ import annotations

import re

_QUOTATION_MARKS = re.compile(r'"{3,}')


def fence_text(text: object) -> str:
    """Return a text between lines of quotation marks, three or more, of which it has no such run itself.

    In prompt files this is the filter ``fenced``.
    """
    inside = str(text)
    fence = '"' * max(3, 1 + max(map(len, _QUOTATION_MARKS.findall(inside)), default=0))
    return f"{fence}\n{inside}\n{fence}"
