"""The check of a translation that exists: what is missing, stale, damaged or untranslated in it. It needs no model.

What is stale is known as it is for --update: from the record of what llm wrote (see ``target_file``), and in files with
both languages from their own marks, such as fuzzy. Without a record, as in a checkout elsewhere, the translation memory
knows from which text a translation was made. Where that is unknown too, keys are compared, or the kinds of segments.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import zip_longest

from llmcli.documents.formats.document_format import locate
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.translatable import find_document_format
from llmcli.documents.segments import Segment, has_letters, protected_texts, split_at_protected
from llmcli.errors import BadDocument
from llmcli.fast_dataclass import field, frozen
from llmcli.tasks.languages import Language, detect_language, is_still_in_source_language
from llmcli.tasks.translate.answer_checks import MIN_COPIED_WORDS, REPETITION_PROBLEM, find_lost_content, repeats_more
from llmcli.tasks.translate.glossary import Glossary
from llmcli.tasks.translate.memory_cache import PreviousOutput, RecordedSegment
from llmcli.tasks.translate.segment_requests import spans_to_mask
from llmcli.tasks.translate.target_file import segment_keys

_LINE_PREFIX = re.compile(r"line (\d+): ")
_TAG = re.compile(r"<[^<>]*>")
_SOURCE_CHANGED = "the source has changed since"
_SOURCE_REMOVED = "the source no longer has this text"


class DefectKind(StrEnum):
    """What is wrong with the translation of a segment."""

    MISSING = "missing"
    STALE = "stale"
    DAMAGED = "damaged"
    UNTRANSLATED = "untranslated"


@frozen
class TranslationToCheck:
    """A document and its translation, None if there is no such file; both are one in a file with both languages.

    ``source`` None: detected. ``written`` is what llm last wrote to the file, None if it has no record; ``sources`` are
    the texts of which translations in the memory were made. Untranslated terms of ``glossary`` may stay as they are.
    """

    document: Document
    translation: Document | None
    target: Language
    source: Language | None = None
    format_name: str | None = None
    glossary: Glossary = Glossary()
    written: PreviousOutput | None = None
    sources: Mapping[str, Collection[str]] = field(default_factory=dict)


@frozen
class Defect:
    """A defect; ``line`` from 1 is one of the source with ``in_source``, where the translation has no such place.

    ``text`` is that of the segment in the source, and ``key`` its path in a message file. Both are "" for a whole file.
    ``part`` is the file with that line, if the document is an archive.
    """

    kind: DefectKind
    line: int
    detail: str
    text: str = ""
    key: str = ""
    in_source: bool = False
    part: str = ""


def check_translation(pair: TranslationToCheck) -> list[Defect]:
    """Return the defects of a translation, one at most for each segment. Raises ``BadDocument`` for the source."""
    form = find_document_format(pair.document, pair.format_name)
    segments = form.split(pair.document.text, pair.target.code)
    if pair.translation is None:
        count = f"{len(segments)} segment{'' if len(segments) == 1 else 's'}"
        return [Defect(DefectKind.MISSING, 1, f"there is no translation of its {count}", in_source=True)]
    text = pair.translation.text
    try:
        theirs = form.split(text, pair.target.code)
        merged = form.split(form.merge_earlier(text, pair.document.text), pair.target.code)
    except BadDocument as error:
        return [Defect(DefectKind.DAMAGED, error.line or 1, error.detail)]
    check = _SegmentCheck(pair, segments, theirs, text)
    problem = form.check(text)
    found = []
    if problem and (form.holds_both_languages or not form.check(pair.document.text)):
        line = _LINE_PREFIX.match(problem)
        where, what = (int(line[1]), problem[line.end() :]) if line else (1, problem)
        found.append(Defect(DefectKind.DAMAGED, where, f"invalid {form.name}: {what}"))
    if form.holds_both_languages:
        return [*found, *check.by_marks(merged)]
    return [*found, *(check.by_key() if form.is_keyed else check.by_position())]


class _SegmentCheck:
    """Finds the translation of each segment, and judges it; ``text`` is that of the translation."""

    def __init__(self, pair: TranslationToCheck, segments: list[Segment], theirs: list[Segment], text: str) -> None:
        self._pair = pair
        self._segments = segments
        self._theirs = theirs
        self._text = text
        self._source = pair.source or detect_language("\n".join(segment.text for segment in segments))
        self._rows = pair.written.rows if pair.written else ()

    # ---- the translation of a segment --------------------------------------------------------------------------------

    def by_marks(self, merged: Sequence[Segment]) -> Iterator[Defect]:
        """Check a file with both languages, which was ``merged`` with the source."""
        there, here = _by_occurrence(self._theirs), _by_occurrence(self._segments)
        for name, segment in _by_occurrence(merged).items():
            mine = there.get(name)
            if segment.existing_translation is not None:
                yield from self._judge(segment, segment.existing_translation, mine)
            elif mine is None:
                yield self._missing(here.get(name, segment))
            elif has_letters(_TAG.sub("", self._text[mine.start : mine.end])):
                yield self._defect(DefectKind.STALE, segment, mine, "its translation is marked as out of date")
            else:
                yield self._defect(DefectKind.MISSING, segment, mine, "it has no translation")

    def by_key(self) -> Iterator[Defect]:
        """Check a message file."""
        keys, their_keys = _comparable_keys(self._segments, self._theirs)
        there = dict(zip(their_keys, self._theirs, strict=True))
        before = {row.key: row for row in self._rows}
        names = segment_keys(self._segments)
        for segment, key, name in zip(self._segments, keys, names, strict=True):
            mine = there.get(key)
            if mine is None:
                yield self._missing(segment)
            else:
                yield from self._compare(segment, mine, before.get(name))
        removed = before.keys() - set(names)
        for mine, name in zip(self._theirs, segment_keys(self._theirs), strict=True):
            if name in removed:
                yield self._removed(before[name], mine)

    def by_position(self) -> Iterator[Defect]:
        """Check a file whose segments have no names: by the record of it, else by the order of the segments."""
        rows = self._rows if self._pair.written else self._remember_rows()
        sources, now = [row.source for row in rows], [segment.text for segment in self._segments]
        if not rows or (sources == now and len(self._theirs) != len(now)):
            yield from self._structure() or self._compare_all()
            return
        placed: Sequence[Segment | None] = self._theirs
        if len(self._theirs) != len(rows):  # people added or removed some
            placed = [None] * len(rows)
        matcher = difflib.SequenceMatcher(None, sources, now, autojunk=False)
        for tag, i, i_end, j, j_end in matcher.get_opcodes():
            olds = zip(rows[i:i_end], placed[i:i_end], strict=True)
            for old, segment in zip_longest(olds, self._segments[j:j_end]):
                if old is None:
                    yield self._missing(segment)
                elif segment is None:
                    yield self._removed(*old)
                elif tag != "equal":
                    yield self._defect(DefectKind.STALE, segment, old[1], _SOURCE_CHANGED)
                elif old[1] is not None:
                    yield from self._judge(segment, old[1].text, old[1], old[0])

    def _remember_rows(self) -> list[RecordedSegment]:
        """Return the record that the memory replaces; none unless it knows the source of each text."""
        texts = [segment.text for segment in self._segments]
        found: list[RecordedSegment] = []
        for mine, beside in zip_longest(self._theirs, texts[: len(self._theirs)]):
            known = set(self._pair.sources.get(mine.text, ()))
            if mine.text == beside or (not known and mine.text in texts):
                found.append(RecordedSegment(mine.text, None, ""))
                continue
            ours = {beside} & known or known.intersection(texts) or known
            if len(ours) != 1:
                return []
            (source,) = ours
            found.append(RecordedSegment(source, mine.text, ""))
        return found

    def _structure(self) -> list[Defect]:
        """Compare the number and the kinds of segments."""
        ours, theirs = ([segment.kind for segment in each] for each in (self._segments, self._theirs))
        if len(ours) != len(theirs):
            kind = DefectKind.MISSING if len(theirs) < len(ours) else DefectKind.STALE
            return [Defect(kind, 1, f"it has {len(theirs)} segments, and its source has {len(ours)}")]
        for segment, mine in zip(self._segments, self._theirs, strict=True):
            if segment.kind != mine.kind:
                return [
                    self._defect(
                        DefectKind.DAMAGED, segment, mine, f"a {mine.kind} takes the place of a {segment.kind}"
                    )
                ]
        return []

    def _compare_all(self) -> Iterator[Defect]:
        for segment, mine in zip(self._segments, self._theirs, strict=True):
            yield from self._compare(segment, mine, None)

    def _compare(self, segment: Segment, mine: Segment, row: RecordedSegment | None) -> Iterator[Defect]:
        """Check the translation of a segment; ``row`` is what llm wrote for it, None: only the memory may know."""
        if row is None:
            known = self._pair.sources.get(mine.text, ())
            made_of = segment.text if segment.text in known else min(known, default=None)
            row = None if made_of is None else RecordedSegment(made_of, mine.text, "")
        if row is not None and row.source != segment.text:
            yield self._defect(DefectKind.STALE, segment, mine, _SOURCE_CHANGED)
        else:
            yield from self._judge(segment, mine.text, mine, row)

    # ---- the judgement -----------------------------------------------------------------------------------------------

    def _judge(
        self, segment: Segment, translation: str, mine: Segment | None, row: RecordedSegment | None = None
    ) -> Iterator[Defect]:
        """Yield what is wrong with the translation of an unchanged segment; ``row`` is what llm wrote for it."""
        if lost := find_lost_content(segment, translation):
            yield self._defect(DefectKind.DAMAGED, segment, mine, f"lost or changed: {' '.join(lost)}")
        elif repeats_more(segment.text, translation):
            yield self._defect(DefectKind.DAMAGED, segment, mine, REPETITION_PROBLEM.replace("answer", "translation"))
        elif self._is_untranslated(segment, translation, row):
            what = "is the source text" if _is_copy(segment, translation) else "is in the source language"
            yield self._defect(DefectKind.UNTRANSLATED, segment, mine, f"the translation {what}")

    def _is_untranslated(self, segment: Segment, translation: str, row: RecordedSegment | None) -> bool:
        """Whether it is still the source.

        A text that llm translated as itself, such as a name, is not, nor a short one in a file with both languages:
        where a translation is missing there, its place is empty.
        """
        source, target = self._source, self._pair.target
        if source is not None and source.code.partition("-")[0] == target.code.partition("-")[0]:
            return False
        if _is_copy(segment, translation):
            if segment.existing_translation is not None and len(translation.split()) < MIN_COPIED_WORDS:
                return False
            free = spans_to_mask(segment, self._pair.glossary.find_untranslated(segment.text))
            return has_letters(segment.text, free) and (row is None or row.translation != translation)
        parts = split_at_protected(translation, protected_texts(segment.text, segment.protected))
        words = " ".join(part for part, kept in parts if not kept)
        return source is not None and is_still_in_source_language(words, source, target)

    # ---- defects -----------------------------------------------------------------------------------------------------

    def _defect(self, kind: DefectKind, segment: Segment, mine: Segment | None, detail: str) -> Defect:
        """Return a defect in the translation ``mine``; None: its place is unknown."""
        if mine is not None:
            part, line = locate(self._text, mine.start)
            return Defect(kind, line, detail, segment.text, ".".join(segment.path), part=part)
        part, line = locate(self._pair.document.text, segment.start)
        return Defect(kind, line, detail, segment.text, ".".join(segment.path), in_source=True, part=part)

    def _missing(self, segment: Segment) -> Defect:
        return self._defect(DefectKind.MISSING, segment, None, "it has no translation")

    def _removed(self, row: RecordedSegment, mine: Segment | None) -> Defect:
        if mine is None:
            return Defect(DefectKind.STALE, 1, _SOURCE_REMOVED, row.source)
        part, line = locate(self._text, mine.start)
        return Defect(DefectKind.STALE, line, _SOURCE_REMOVED, row.source, ".".join(mine.path), part=part)


def _is_copy(segment: Segment, translation: str) -> bool:
    return translation.casefold().split() == segment.text.casefold().split()


def _comparable_keys(segments: Sequence[Segment], theirs: Sequence[Segment]) -> tuple[list[str], list[str]]:
    """Return the keys of two message files: without their roots only if each has one, which may be its language."""
    both = (segments, theirs)
    if all(len({segment.path[:1] for segment in each}) == 1 for each in both):
        return segment_keys(segments), segment_keys(theirs)
    ours, others = (["\x1f".join(segment.path) for segment in each] for each in both)
    return ours, others


def _by_occurrence(segments: Sequence[Segment]) -> dict[tuple[str, int], Segment]:
    """Return the segments by their text and how often it came before: the same messages of two files."""
    found: dict[tuple[str, int], Segment] = {}
    times = Counter[str]()
    for segment in segments:
        found[segment.text, times[segment.text]] = segment
        times[segment.text] += 1
    return found
