"""The output file of a translation: its earlier content, whether it is finished, and what can be carried over.

If the source has not changed, the translation stays, edits included. In message files, the key identifies the source of
each translated text. In other files the record of the last output does, unless a text was added, removed or moved
since, or the text between segments has changed. (PO files hold both languages: see
``documents/formats/message_files/po_merge.py``.)
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llmcli.documents.formats.document_format import DocumentFormat
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.translatable import find_document_format
from llmcli.documents.segments import Segment
from llmcli.errors import BadDocument, CannotCreate
from llmcli.fast_dataclass import field, frozen, slotted
from llmcli.interrupt import run_interruptible
from llmcli.tasks.languages import Language
from llmcli.tasks.translate.memory_cache import PreviousOutput, RecordedSegment, TranslationMemoryCache
from llmcli.tasks.translate.translator import Translator


@frozen
class TranslationSpec:
    """A document to translate with ``translator``.

    ``source`` None: detected. ``format_name`` None: found by name and content. ``interleaves``: the output has each
    segment, followed by its translation. ``output``: the output file, which the memory records; ``earlier``: its present
    content. With ``keep_existing`` it must not change: a finished file is a result without text, any other file is
    refused. Otherwise its text is kept where the source did not change.
    """

    document: Document
    translator: Translator
    source: Language | None = None
    format_name: str | None = None
    interleaves: bool = False
    earlier: Document | None = None
    output: Path | None = None
    keep_existing: bool = False

    @property
    def name(self) -> str:
        """The name of the document."""
        return self.document.name

    def find_format(self) -> DocumentFormat:
        """Return the format of the document. Raises ``UsageError`` if there is none called ``format_name``."""
        return find_document_format(self.document, self.format_name)


class TargetFile:
    """The output of a translation; without ``output`` nothing is known or recorded about it."""

    def __init__(self, spec: TranslationSpec, remembered: TranslationMemoryCache) -> None:
        self._spec = spec
        self._memory = remembered
        self._target = spec.translator.target.code

    def text_to_translate(self, form: DocumentFormat) -> str:
        """Return the text to translate: the document, merged with the earlier output if that holds both languages.

        Raises ``BadDocument`` for the earlier output.
        """
        earlier, text = self._spec.earlier, self._spec.document.text
        if earlier is None or self._spec.keep_existing or not form.holds_both_languages:
            return text
        form.split(text, self._target)  # raises for the document itself
        try:
            return form.merge_earlier(earlier.text, text)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error

    def is_finished(self, text: str, form: DocumentFormat) -> bool:
        """Return whether the file is unchanged since llm wrote it, fully translated from ``text``."""
        output, earlier = self._spec.output, self._spec.earlier
        if output is None or earlier is None:
            return False
        return self._memory.is_finished(output, self._target, self._fingerprint(text, earlier.text, form))

    def carry_over(
        self, segments: Sequence[Segment], source: Language | None, form: DocumentFormat
    ) -> CarriedTranslations:
        """Return the translations to carry over, and store the edits that people made.

        Raises ``CannotCreate`` if edits would be lost, and ``BadDocument`` for the earlier output.
        """
        earlier = self._spec.earlier
        if earlier is None or form.holds_both_languages:  # it was merged with the document
            return CarriedTranslations()
        written = self._memory.previous_output(self._spec.output, self._target)
        try:
            carried = run_interruptible(self._align, earlier.text, segments, written, form)
        except BadDocument as error:
            raise BadDocument(earlier.name, line=error.line, detail=error.detail) from error
        except AlignmentError as error:
            raise CannotCreate(
                earlier.name,
                detail=str(error),
                message="{subject} cannot be updated without losing edits that people may have made: {detail}",
                advice="To translate it again without those edits, use -o (or -o and --force) instead of --update.",
                type_name="WouldLoseEdits",
            ) from error
        if form.is_package:  # the markup of the earlier document may mean something else in this one
            carried.regions.clear()
        self._memory.add_edits(carried.edits, source, self._spec.translator)
        return carried

    def _align(
        self, earlier: str, segments: Sequence[Segment], written: PreviousOutput | None, form: DocumentFormat
    ) -> CarriedTranslations:
        theirs = form.split(earlier, self._target)
        if form.is_keyed:
            return align_by_key(segments, theirs, written)
        return align_by_position(segments, earlier, theirs, written)

    def prepare_record(
        self,
        text: str,
        out: str,
        form: DocumentFormat,
        segments: Sequence[Segment],
        translations: Sequence[str | None],
        *,
        whole: bool,
    ) -> None:
        """Prepare the record of the file with the content ``out``, made from ``text``; ``whole``: fully translated."""
        if self._spec.output is None or not self._memory.keeps_records:
            return
        what = run_interruptible(self._previous_output, out, form, segments, translations)
        stamp = self._fingerprint(text, out, form) if whole else ""
        self._memory.prepare_output(self._spec.output, self._target, what, stamp)

    def _previous_output(
        self, out: str, form: DocumentFormat, segments: Sequence[Segment], translations: Sequence[str | None]
    ) -> PreviousOutput:
        found = [] if self._spec.interleaves else form.split(out, self._target)
        rows = [
            RecordedSegment(segment.text, translation, key)
            for segment, translation, key in zip(segments, translations, segment_keys(segments), strict=True)
        ]
        return PreviousOutput(rows, digest_skeleton(out, found) if len(found) == len(segments) else "")

    def _fingerprint(self, text: str, out: str, form: DocumentFormat) -> str:
        """Return a digest of an output and of all its inputs."""
        spec = self._spec
        layout = "interleaved" if spec.interleaves else "translation"
        made_of = [text, form.name, layout, spec.translator.model_id, spec.translator.cache_key, out]
        return hashlib.sha256("\0".join(made_of).encode("utf-8", "surrogatepass")).hexdigest()


# ---- carry-over ------------------------------------------------------------------------------------------------------


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
        at = max(at, segment.end)
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
    segments: Sequence[Segment],
    text: str,
    theirs: Sequence[Segment],
    written: PreviousOutput | None,
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
