"""The text of a translated document: written as segments finish, and valid if its source is."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from textwrap import shorten

from llmcli.documents.formats.document_format import PART_MARK, DocumentFormat
from llmcli.documents.segments import Segment
from llmcli.interrupt import run_interruptible
from llmcli.tasks.languages import Language
from llmcli.tasks.translate.segment_state import SegmentState
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.types import Delta, Notice

BOM = "\ufeff"
_MARK = re.compile(r"<[^<>]*>")
_SHOWN_CHARS = 50
"""Characters of a segment that say where it is."""
_LONG_SEGMENT_CHARS = 100_000
"""Number of characters of a segment above which inserting its translation takes noticeable time."""


class DocumentOutput:
    """The output of a translation: plain text as it comes, other formats when all segments are finished."""

    def __init__(
        self,
        spec: TranslationSpec,
        item: int,
        document_format: DocumentFormat,
        source: str,
        states: Sequence[SegmentState],
    ) -> None:
        """``source`` is the text to translate, ``states`` are those of its segments."""
        self.warnings: list[str] = []
        self._spec = spec
        self._item = item
        self._format = document_format
        self._streaming = document_format.streams and not spec.interleaves
        self._source = source
        self._line_starts = [match.end() for match in re.finditer("\n", source)]
        self._part_lines = (
            []
            if not document_format.is_package
            else [bisect_right(self._line_starts, match.start()) + 1 for match in re.finditer(PART_MARK, source)]
        )
        self._states = states
        self._segments_written = 0
        self._source_offset = 0  # where the next piece of the source begins
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """The text written so far."""
        return "".join(self._parts)

    @property
    def text_without_bom(self) -> str:
        """The written text without its byte order mark, as the format reads it."""
        return self.text.removeprefix(BOM) if self._spec.document.bom else self.text

    @property
    def _is_packed(self) -> bool:
        return self._format.is_package and self._spec.document.data is not None

    @property
    def data(self) -> bytes | None:
        """The document with its translations, if it is an archive."""
        archive = self._spec.document.data
        if not self._is_packed or archive is None or self._spec.keep_existing:
            return None
        return run_interruptible(self._format.pack, archive, self.text)

    @property
    def all_written(self) -> bool:
        """Whether the text of every segment was written, or is about to be assembled."""
        return self._segments_written == len(self._states)

    def line_number(self, state: SegmentState) -> int:
        """Return the source line in which a segment begins, from 1; in the file of an archive that it is in."""
        line = bisect_right(self._line_starts, state.segment.start) + 1
        return line - self._part_lines[bisect_left(self._part_lines, line) - 1] if self._part_lines else line

    def _place(self, state: SegmentState) -> str:
        """Return where people find a segment: its first words in an archive, whose lines are not shown."""
        if not state.segment.part:
            return f"line {self.line_number(state)}"
        words = shorten(_MARK.sub("", state.segment.text), _SHOWN_CHARS, placeholder="\u2026")
        return f"{state.segment.part}: \u201c{words}\u201d"

    def write_finished_segments(self) -> Iterator[Delta | Notice]:
        """Write the finished segments in document order, up to the first unfinished one."""
        while not self.all_written and self._states[self._segments_written].done:
            state = self._states[self._segments_written]
            if state.repeated_index is not None:
                state.copy_outcome(self._states[state.repeated_index])
            yield from self._warn_if_untranslated(state)
            if self._streaming:
                segment = state.segment
                long = segment.end - segment.start >= _LONG_SEGMENT_CHARS
                words = run_interruptible(self._segment_output, state) if long else self._segment_output(state)
                yield from self._emit(self._source[self._source_offset : segment.start] + words)
                self._source_offset = segment.end
            self._segments_written += 1

    def finish(self, source_language: Language | None) -> Iterator[Delta | Notice]:
        """Write the rest: the end of a plain text, the whole of other formats."""
        if self._streaming:
            yield from self._emit(self._source[self._source_offset :])
            return
        yield from self._revert_invalid_translations()
        yield from self._emit(run_interruptible(self._assemble, source_language))

    def _emit(self, text: str) -> Iterator[Delta]:
        if self._spec.document.bom and not self._parts:
            text = BOM + text
        if text:
            self._parts.append(text)
            if not self._is_packed:
                yield Delta(text, self._item)

    def _warn_if_untranslated(self, state: SegmentState) -> Iterator[Notice]:
        if state.is_untranslated:
            problem = state.problems[-1] if state.problems else "no translation was found"
            warning = f"{self._place(state)}: left untranslated: {problem}"
            self.warnings.append(warning)
            yield Notice(warning, self._item)

    def _segment_output(self, state: SegmentState) -> str:
        """Return the text for a segment's region of the output."""
        put = self._replacement_text(state)
        return self._source[state.segment.start : state.segment.end] if put is None else state.segment.encode(put)

    def _replacement_text(self, state: SegmentState) -> str | None:
        """Return the replacement for a segment's region; None leaves it byte for byte."""
        return None if self._spec.translator.is_identity else state.translation

    def _assemble(self, source_language: Language | None) -> str:
        segments = [state.segment for state in self._states]
        texts = [self._replacement_text(state) for state in self._states]
        if self._spec.interleaves:
            return interleave(self._format, self._source, segments, texts)
        out = self._format.join(self._source, segments, texts)
        if not any(texts):
            return out
        source = source_language.code if source_language else ""
        return self._format.replace_language(out, segments, source, self._spec.translator.target.code)

    # ---- validity -------------------------------------------------------------------------------------------------

    def _revert_invalid_translations(self) -> Iterator[Notice]:
        """Revert the segments whose translations make the document invalid, if its source is valid."""
        for index in run_interruptible(self._find_invalid_translations):
            state = self._states[index]
            state.revert(f"the translation would make the {self._format.name} invalid")
            yield from self._warn_if_untranslated(state)

    def _find_invalid_translations(self) -> list[int]:
        """Return the segments whose translations make the document invalid; none if the document itself is."""
        everything = range(len(self._states))
        is_valid = not self._format.check(self._join_subset(everything))  # as nearly always: the source is not read
        return [] if is_valid or self._format.check(self._source) else self._bisect_invalid(list(everything))

    def _bisect_invalid(self, indices: list[int]) -> list[int]:
        """Return the segments among some whose translations make the document invalid."""
        if not indices or not self._format.check(self._join_subset(indices)):
            return []
        if len(indices) == 1:
            return indices
        middle = len(indices) // 2
        return [*self._bisect_invalid(indices[:middle]), *self._bisect_invalid(indices[middle:])]

    def _join_subset(self, indices: Iterable[int]) -> str:
        chosen = set(indices)
        segments = [state.segment for state in self._states]
        translations = [self._replacement_text(state) if i in chosen else None for i, state in enumerate(self._states)]
        return self._format.join(self._source, segments, translations)


def interleave(
    document_format: DocumentFormat, text: str, segments: Sequence[Segment], translations: Sequence[str | None]
) -> str:
    """Return a document with each translation after its segment; None among ``translations``: there is none."""
    parts, at = [], 0
    for segment, translation in zip(segments, translations, strict=True):
        region = text[segment.start : segment.end]
        parts += [text[at : segment.start], region]
        if translation is not None and translation != segment.text:
            parts += [document_format.bilingual_separator(text, segment), segment.encode(translation)]
        at = segment.end
    return "".join([*parts, text[at:]])
