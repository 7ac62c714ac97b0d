"""Characters that change how a text is displayed but are not displayed themselves, and texts without any."""

from __future__ import annotations

import re
from functools import cache


@cache
def control_character_pattern() -> re.Pattern[str]:
    """Return the pattern of one such character: DEL, C1, line separators, bidirectional controls, tags.

    C0 controls are excluded, since formats handle them.
    """
    return re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


def is_visible_ascii(text: str) -> bool:
    """Whether a text is not empty and fits a field of an HTTP header: printable ASCII without blanks."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
