"""Carry-over from an earlier translation: if the source has not changed, the translation stays, edits included.

In message files, the key identifies the source of each translated text. In other files the record of the last output
does, unless a text was added, removed or moved since, or the text between segments has changed. (PO files hold both
languages: see ``documents/formats/message_files/po_merge.py``.)
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Sequence

from llmcli.documents.segments import Segment
from llmcli.frozen_dataclass import field, frozen, slotted


@frozen
class RecordedSegment:
    """A segment as it was written: ``translation`` is None if it was left in the source language."""

    source: str
    translation: str | None
    key: str


@frozen
class PreviousOutput:
    """What was last written to a file; ``skeleton_digest`` identifies the text between segments, "" if unknown."""

    rows: Sequence[RecordedSegment]
    skeleton_digest: str


@slotted
class CarriedTranslations:
    """Translations by the index of their segment; ``regions`` as they are in the document, if it has markup.

    ``edits`` are people's translations as (source, translation), including those of changed sources; ``outdated_edits``
    counts the latter.
    """

    texts: dict[int, str] = field(default_factory=dict)
    regions: dict[int, str] = field(default_factory=dict)
    edits: list[tuple[str, str]] = field(default_factory=list)
    outdated_edits: int = 0


class AlignmentError(Exception):
    """People's edits cannot be determined; the message says why."""


def segment_keys(segments: Sequence[Segment]) -> list[str]:
    """Return the keys of the segments in a message file; a common root may be a language (Rails)."""
    roots = {segment.path[:1] for segment in segments}
    shared = len(roots) == 1 and all(len(segment.path) > 1 for segment in segments)
    return ["\x1f".join(segment.path[1:] if shared else segment.path) for segment in segments]


def digest_skeleton(text: str, segments: Sequence[Segment]) -> str:
    """Return the digest of everything in a document except its segments."""
    parts, at = [], 0
    for segment in segments:
        parts.append(text[at : segment.start])
        at = segment.end
    return hashlib.sha256("\0".join([*parts, text[at:]]).encode("utf-8", "surrogatepass")).hexdigest()


def align_by_key(
    segments: Sequence[Segment], theirs: Sequence[Segment], written: PreviousOutput | None
) -> CarriedTranslations:
    """Return the earlier translations with the same key, if they were made from the same text."""
    found = CarriedTranslations()
    there = dict(zip(segment_keys(theirs), theirs, strict=True))
    before = {row.key: row for row in written.rows} if written else {}
    for index, (segment, key) in enumerate(zip(segments, segment_keys(segments), strict=True)):
        if key not in there:
            continue
        row, text = before.get(key), there[key].text
        if row is not None and row.translation is None and text == row.source:
            continue  # it was left in the source language
        edited = row is not None and text != row.translation
        if row is not None and row.source != segment.text:
            found.outdated_edits += edited
        else:
            found.texts[index] = text
        if row is not None and edited:
            found.edits.append((row.source, text))
    return found


def align_by_position(
    segments: Sequence[Segment], text: str, theirs: Sequence[Segment], written: PreviousOutput | None
) -> CarriedTranslations:
    """Return the earlier translations at the same position, if they were made from the same text.

    ``text`` is the earlier translation, ``theirs`` its segments. Raises ``AlignmentError``.
    """
    if written is None or not written.skeleton_digest:
        raise AlignmentError("llm has no record of how it was made")
    now = [segment.text for segment in theirs]
    then = [row.translation or row.source for row in written.rows]
    if digest_skeleton(text, theirs) != written.skeleton_digest or len(now) != len(then) or _has_moved_texts(then, now):
        raise AlignmentError("texts were added, removed or moved in it, or the parts between them were changed")
    found, sources = CarriedTranslations(), [row.source for row in written.rows]
    matched = dict(_matching_indices(sources, [segment.text for segment in segments]))
    for place, (row, words) in enumerate(zip(written.rows, now, strict=True)):
        if row.translation is None and words == row.source:
            continue
        edited = words != row.translation
        if place in matched:
            found.texts[matched[place]] = words
            found.regions[matched[place]] = text[theirs[place].start : theirs[place].end]
        else:
            found.outdated_edits += edited
        if edited:
            found.edits.append((row.source, words))
    return found


def _matching_indices(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return [(i + k, j + k) for i, j, size in matcher.get_matching_blocks() for k in range(size)]


def _has_moved_texts(before: Sequence[str], now: Sequence[str]) -> bool:
    """Return whether texts that occur only once have moved to another position."""
    times_before, times_now = Counter(before), Counter(now)
    places = {text: index for index, text in enumerate(before) if times_before[text] == 1}
    return any(times_now[text] == 1 and places.get(text, index) != index for index, text in enumerate(now))
