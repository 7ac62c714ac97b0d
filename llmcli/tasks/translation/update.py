"""What of an earlier translation still holds: where the source is as it was, its text stays, whoever wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from llmcli.documents.segments import Segment

Written = Sequence[tuple[str, str | None]]
_BY_KEY = frozenset({"json", "yaml", "properties"})


def carried_over(
    segments: Sequence[Segment], theirs: Sequence[Segment], written: Written | None, format_name: str
) -> dict[int, str]:
    """Return translations of ``segments`` by their index, taken from those of an earlier translation, ``theirs``.

    ``written`` is what llm wrote to it last, text by text: then a text of the source that has changed since has none.
    Without it, what stands at the same place counts as the translation.
    """
    if any(segment.existing is not None for segment in theirs):  # a format that holds both languages
        known = {(s.note, s.text): s.existing for s in theirs if s.existing is not None}
        found = {index: known.get((segment.note, segment.text)) for index, segment in enumerate(segments)}
        return {index: text for index, text in found.items() if text is not None}
    if written is None:
        return {mine: theirs[other].text for mine, other in _places(segments, theirs, format_name)}
    their_texts = [segment.text for segment in theirs]
    old = _aligned([text or source for source, text in written], their_texts)
    sources = [source for source, _ in written]
    return {
        mine: their_texts[old[before]]
        for mine, before in _equal([segment.text for segment in segments], sources)
        if before in old
    }


def _aligned(before: Sequence[str], now: Sequence[str]) -> dict[int, int]:
    """Return which text of ``now`` stands where one of ``before`` stood: it is the same, or was edited in its place."""
    if len(before) == len(now):
        return dict(enumerate(range(len(now))))
    found: dict[int, int] = {}
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, before, now, autojunk=False).get_opcodes():
        if tag == "equal" or (tag == "replace" and i2 - i1 == j2 - j1):
            found.update(zip(range(i1, i2), range(j1, j2), strict=True))
    return found


def _equal(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return [(i + k, j + k) for i, j, size in matcher.get_matching_blocks() for k in range(size)]


def _places(segments: Sequence[Segment], theirs: Sequence[Segment], format_name: str) -> list[tuple[int, int]]:
    """Return which segments stand at the same place: under the same key, or in the same order of the same kinds."""
    if format_name in _BY_KEY:
        keys = {segment.path: index for index, segment in enumerate(theirs)}
        return [(index, keys[segment.path]) for index, segment in enumerate(segments) if segment.path in keys]

    def shape(segment: Segment) -> str:
        return f"{segment.kind} {len(segment.path)} {[span.kind for span in segment.protected]}"

    return _equal([shape(segment) for segment in segments], [shape(segment) for segment in theirs])
