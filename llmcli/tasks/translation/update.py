"""What of an earlier translation still holds: where the source is as it was, its text stays, whoever wrote it.

Which text of a translation belongs to which of its source is known or it is not, never guessed: in files of messages by
the key, elsewhere from what was remembered when it was written, as long as nobody added, removed or moved a text, or
changed what stands between them. (PO files hold both languages: ``documents/formats/po_merge.py``.)
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmcli.documents.segments import Segment

BY_KEY = frozenset({"json", "yaml", "properties"})


@dataclass(frozen=True, slots=True)
class Row:
    """A segment as it was written: ``translation`` None where it was left in the source language."""

    source: str
    translation: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Written:
    """What was written to a file last; ``skeleton`` identifies what stood between the texts, "" where that is no help."""

    rows: Sequence[Row]
    skeleton: str


@dataclass(slots=True)
class Carried:
    """Texts by the index of their segment; ``regions`` as they stand in the document, where it has markup.

    ``edits`` are people's translations, (source, translation), those of sources that have changed included; ``replaced``
    counts the latter.
    """

    texts: dict[int, str] = field(default_factory=dict)
    regions: dict[int, str] = field(default_factory=dict)
    edits: list[tuple[str, str]] = field(default_factory=list)
    replaced: int = 0


class UnclearError(Exception):
    """It cannot be told what people changed; the message says why."""


def keys(segments: Sequence[Segment]) -> list[str]:
    """Return what identifies each segment in a file of messages; a root that all share may be a language (Rails)."""
    roots = {segment.path[:1] for segment in segments}
    shared = len(roots) == 1 and all(len(segment.path) > 1 for segment in segments)
    return ["\x1f".join(segment.path[1:] if shared else segment.path) for segment in segments]


def skeleton(text: str, segments: Sequence[Segment]) -> str:
    """Return what identifies all of a document but its segments."""
    parts, at = [], 0
    for segment in segments:
        parts.append(text[at : segment.start])
        at = segment.end
    return hashlib.sha256("\0".join([*parts, text[at:]]).encode("utf-8", "surrogatepass")).hexdigest()


def by_key(segments: Sequence[Segment], theirs: Sequence[Segment], written: Written | None) -> Carried:
    """Return what stands under the same key, where what was written there was made of the same text."""
    found = Carried()
    there = dict(zip(keys(theirs), theirs, strict=True))
    before = {row.key: row for row in written.rows} if written else {}
    for index, (segment, key) in enumerate(zip(segments, keys(segments), strict=True)):
        if key not in there:
            continue
        row, text = before.get(key), there[key].text
        if row is not None and row.translation is None and text == row.source:
            continue  # it was left in the source language
        edited = row is not None and text != row.translation
        if row is not None and row.source != segment.text:
            found.replaced += edited
        else:
            found.texts[index] = text
        if row is not None and edited:
            found.edits.append((row.source, text))
    return found


def by_place(segments: Sequence[Segment], text: str, theirs: Sequence[Segment], written: Written | None) -> Carried:
    """Return what stands in the place of what was written, where that was made of the same text.

    ``text`` is the earlier translation, ``theirs`` its segments. Raises ``UnclearError``.
    """
    if written is None or not written.skeleton:
        raise UnclearError("nothing is remembered of how it was made")
    now = [segment.text for segment in theirs]
    then = [row.translation or row.source for row in written.rows]
    if skeleton(text, theirs) != written.skeleton or len(now) != len(then) or _moved(then, now):
        raise UnclearError("texts were added, removed or moved in it, or what stands between them was changed")
    found, sources = Carried(), [row.source for row in written.rows]
    matched = dict(_equal(sources, [segment.text for segment in segments]))
    for place, (row, words) in enumerate(zip(written.rows, now, strict=True)):
        if row.translation is None and words == row.source:
            continue
        edited = words != row.translation
        if place in matched:
            found.texts[matched[place]] = words
            found.regions[matched[place]] = text[theirs[place].start : theirs[place].end]
        else:
            found.replaced += edited
        if edited:
            found.edits.append((row.source, words))
    return found


def _equal(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return [(i + k, j + k) for i, j, size in matcher.get_matching_blocks() for k in range(size)]


def _moved(before: Sequence[str], now: Sequence[str]) -> bool:
    """Return whether texts that are there only once stand at another place now."""
    times_before, times_now = Counter(before), Counter(now)
    places = {text: index for index, text in enumerate(before) if times_before[text] == 1}
    return any(times_now[text] == 1 and places.get(text, index) != index for index, text in enumerate(now))
