"""What of a document is translated: regions of its text. Joining replaces those alone, so all else stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a segment's text that has to come back exactly once, unchanged."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Segment:
    start: int
    end: int
    text: str
    encode: Callable[[str], str]
    protected: tuple[Span, ...] = ()
    kind: str = "paragraph"
    path: tuple[str, ...] = ()
    note: str = ""
    width: int | None = None
    existing: str | None = None


def join(text: str, segments: Sequence[Segment], translations: Sequence[str | None]) -> str:
    parts, at = [], 0
    for segment, translation in zip(segments, translations, strict=True):
        if translation is not None:
            parts += [text[at : segment.start], segment.encode(translation)]
            at = segment.end
    return "".join([*parts, text[at:]])
