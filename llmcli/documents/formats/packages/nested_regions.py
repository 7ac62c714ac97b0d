"""Regions in regions: the text of a footnote, or of a picture, in the middle of a sentence.

The new text for a region refers to such parts of the document by their offsets. They are written with their own
translations.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from llmcli.documents.formats.xml_files.xml_elements import XmlElement
from llmcli.documents.segments import Segment, find_changes

_REFERENCE = "\x1d"
"""The character around the offsets of another part of the document; XML does not allow it."""
_REFERENCE_PATTERN = re.compile(f"{_REFERENCE}(\\d+):(\\d+){_REFERENCE}")


def replace_with_references(source: str, start: int, end: int, elements: Sequence[XmlElement], offset: int) -> str:
    """Return a part of ``source`` with references to ``elements``, which have translations of their own."""
    parts, at = [], start
    for element in elements:
        parts += [
            source[at : element.start],
            f"{_REFERENCE}{element.start + offset}:{element.end + offset}{_REFERENCE}",
        ]
        at = element.end
    return "".join([*parts, source[at:end]])


def join_nested(text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
    """Return the document with the translations in their regions, which may be in each other."""
    changes = sorted(find_changes(segments, translations), key=lambda change: (change[0], -change[1]))
    starts = [start for start, *_ in changes]

    def render(start: int, end: int, index: int) -> str:
        parts = []
        while index < len(changes) and changes[index][0] < end:
            begin, after, words = changes[index]
            parts += [text[start:begin], resolve(words, index)]
            start, index = after, max(index + 1, bisect_left(starts, after))
        return "".join([*parts, text[start:end]])

    def resolve(words: str, index: int) -> str:
        if _REFERENCE not in words:
            return words
        return _REFERENCE_PATTERN.sub(
            lambda match: render(int(match[1]), int(match[2]), max(index + 1, bisect_left(starts, int(match[1])))),
            words,
        )

    return render(0, len(text), 0)
