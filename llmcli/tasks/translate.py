"""translate: the same documents in another language, with everything around the words as it was."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from llmcli.documents.segments import Segment
from llmcli.errors import CannotCreate, UsageError
from llmcli.incomplete_results import IncompleteOutput
from llmcli.interrupt import check_interrupt, run_interruptible
from llmcli.tasks.execution.document_jobs import CancelRequest, JobStep, run_document_jobs
from llmcli.tasks.execution.response_buffer import UsageTally
from llmcli.tasks.translation.language_detection import detect_language
from llmcli.tasks.translation.per_file.bilingual import OutputLayout, render_layout
from llmcli.tasks.translation.per_file.memory_cache import TranslationMemoryCache
from llmcli.tasks.translation.per_file.target_file import TargetFile, TranslationJob
from llmcli.tasks.translation.per_file.translation_report import SegmentOutcome, SegmentStatus, TranslationReport
from llmcli.tasks.translation.per_segment.answer_checks import find_lost_content
from llmcli.tasks.translation.per_segment.segment_job import SegmentJob
from llmcli.tasks.translation.translator import SegmentContext
from llmcli.types import Delta, Event, FinishReason, ItemFailed, Notice, Request, Result, TaskEvent, Timings

PROMPT = "translate"
REVIEW_PROMPT = "translate.review"
BOM = "\ufeff"
_MAX_WATCHED_SEGMENTS = 8
"""Segments whose tokens count as progress while none is done; afterwards segments are counted."""
_PRECEDING_CHARS = 200
"""Characters of the text before a segment that the model sees."""
_MAX_PATH_PARTS = 3
"""Headings or keys above a segment that it sees."""
_LONG_SEGMENT_CHARS = 100_000
"""Characters of a segment above which inserting its translation takes noticeable time."""


@dataclass(slots=True)
class _SegmentState:
    """The state of a segment; ``job`` while the model works on it."""

    segment: Segment
    status: SegmentStatus = SegmentStatus.TRANSLATED
    translation: str | None = None
    job: SegmentJob | None = None
    repeated_index: int | None = None
    """The segment before it that has the same text."""
    problems: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether its text in the output is settled."""
        return self.job is None or self.job.done


class _TranslationDocumentJob:
    """One document: its segments are all in flight together."""

    def __init__(
        self, job: TranslationJob, item: int, remembered: TranslationMemoryCache, report: TranslationReport
    ) -> None:
        self.item = item
        self.name = job.document.name
        self.step = ""
        self._job = job
        self._translator = job.translator
        self._memory = remembered
        self._target_file = TargetFile(job, remembered)
        self._report = report
        self._format = job.find_format()
        self._text = ""  # what is translated, and where its lines begin: see ``start``
        self._line_starts: list[int] = []
        self._states: list[_SegmentState] = []
        self._source_language = job.source
        self._tally = UsageTally()
        self._streaming = self._format.streams and job.layout is OutputLayout.TRANSLATION
        self._segments_written = 0  # segments whose text was written
        self._source_offset = 0  # where the next piece of the source begins
        self._output_parts: list[str] = []
        self._warnings: list[str] = []

    def start(self) -> Iterator[JobStep]:
        """Begin. Raises ``BadDocument``, ``WouldLoseEdits``, and ``ContextOverflow`` (instructions leave no room)."""
        if self._job.layout is OutputLayout.INTERLEAVED and not self._format.can_interleave:
            raise UsageError(
                f"a {self._format.name} file cannot hold two languages", detail="Try: --bilingual side-by-side"
            )
        run_interruptible(self._parse)
        if self._job.keep_existing:
            yield self._result_of_finished_file()
            return
        yield from self._apply_known_translations()
        yield from self._start_segment_jobs()
        yield from self._write_finished_segments()

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Handle an event of one of its requests."""
        state = self._states[int(event.id.split(".")[1])]
        segment_job = state.job
        if segment_job is None:
            return
        was = segment_job.done
        yield from segment_job.handle_event(event)
        if segment_job.done and not was:
            self._store_translation(state, segment_job)
            yield from self._write_finished_segments()

    def _parse(self) -> None:
        """Find the segments, and the source language where it is not named."""
        self._text = self._target_file.text_to_translate(self._format)
        self._line_starts = [index + 1 for index, c in enumerate(self._text) if c == "\n"]
        segments = self._format.split(self._text, self._translator.target.code)
        self._states = [_SegmentState(segment) for segment in segments]
        if self._source_language is None and self._translator.stub_translate is None:
            self._source_language = detect_language("\n".join(segment.text for segment in segments))

    # ---- known translations ----------------------------------------------------------------------------------------

    def _apply_known_translations(self) -> Iterator[Notice]:
        """Find the segments that have a translation already. Raises ``WouldLoseEdits``."""
        carried = self._target_file.carry_over(
            [state.segment for state in self._states], self._source_language, self._format
        )
        if carried.outdated_edits:
            words = "texts that people changed have another source now, and are translated again"
            yield Notice(f"{carried.outdated_edits} {words}", self.item)
        first: dict[tuple[str, str], int] = {}
        for index, state in enumerate(self._states):
            check_interrupt()
            segment = state.segment
            key = (segment.text, segment.note)
            if segment.existing_translation is not None:
                state.status = SegmentStatus.EXISTING
            elif index in carried.texts:
                state.status, state.translation = SegmentStatus.UPDATE, carried.texts[index]
                region = carried.regions.get(index)
                if region is not None:  # with whatever markup people wrote
                    state.segment = replace(segment, encode=partial(_existing_region, region))
            elif key in first:
                state.status, state.repeated_index = SegmentStatus.REPEATED, first[key]
            else:
                known = self._memory.find(segment, self._source_language, self._translator)
                if known is not None and not find_lost_content(segment, known):
                    state.status, state.translation = SegmentStatus.MEMORY, known
                first[key] = index

    def _result_of_finished_file(self) -> Result:
        """Return the result of a file that is finished already. Raises ``CannotCreate`` for any other."""
        if not self._target_file.is_finished(self._text, self._format):
            raise CannotCreate(str(self._job.output), exists=True)
        return replace(self._make_result(), text=None, fields={**self._make_result().fields, "finished": True})

    # ---- requests -------------------------------------------------------------------------------------------------

    def _start_segment_jobs(self) -> Iterator[Request | CancelRequest]:
        """Yield the requests for all other segments."""
        new = [
            (index, state)
            for index, state in enumerate(self._states)
            if state.status is SegmentStatus.TRANSLATED and state.translation is None
        ]
        segment_jobs = run_interruptible(self._make_segment_jobs, new)
        for (_, state), segment_job, pieces in zip(new, segment_jobs, self._chunk_segments(segment_jobs), strict=True):
            yield from segment_job.start(pieces)
            if segment_job.done:
                self._store_translation(state, segment_job)

    def _make_segment_jobs(self, new: Sequence[tuple[int, _SegmentState]]) -> list[SegmentJob]:
        """Return a segment job for each of ``new``; those that need no model are done."""
        segment_jobs = []
        for index, state in new:
            around, name = self._segment_context(index), f"{self.item}.{index}"
            state.job = SegmentJob(
                self._translator, name, state.segment, self._source_language, around, tally=self._tally
            )
            state.job.apply_stub()
            segment_jobs.append(state.job)
        return segment_jobs

    def _chunk_segments(self, segment_jobs: Sequence[SegmentJob]) -> list[list[tuple[str, int]]]:
        """Return the text of each segment job, cut to fit one request, with the tokens of its pieces."""
        if not segment_jobs or self._translator.stub_translate is not None:
            return [[(segment_job.masked_text, 0)] for segment_job in segment_jobs]
        budget = self._translator.context_budget(self.name)
        found = []
        counts = budget.count_tokens([segment_job.masked_text for segment_job in segment_jobs])
        for segment_job, tokens in zip(segment_jobs, counts, strict=True):
            if budget.fits_tokens(tokens):
                found.append([(segment_job.masked_text, tokens)])
            else:
                texts = budget.split_to_fit(segment_job.masked_text)
                found.append(list(zip(texts, budget.count_tokens(texts), strict=True)))
        return found

    def _segment_context(self, index: int) -> SegmentContext:
        segment = self._states[index].segment
        path, before = " > ".join(segment.path[-_MAX_PATH_PARTS:]), ""
        if segment.kind != "message" and index > 0:  # messages of a program do not follow from each other
            before = self._states[index - 1].segment.text[-_PRECEDING_CHARS:]
        return SegmentContext(path, before, segment.note)

    def _store_translation(self, state: _SegmentState, segment_job: SegmentJob) -> None:
        state.problems = segment_job.problems
        if segment_job.translation is None:
            state.status = SegmentStatus.UNTRANSLATED
        else:
            state.translation = segment_job.translation
            self._memory.add(state.segment, segment_job.translation, self._source_language, self._translator)

    # ---- the output -----------------------------------------------------------------------------------------------

    def _write_finished_segments(self) -> Iterator[JobStep]:
        """Write the finished segments in document order: plain text as it comes, other formats when they are complete."""
        while self._segments_written < len(self._states) and self._states[self._segments_written].done:
            state = self._states[self._segments_written]
            if state.repeated_index is not None:
                self._copy_repeated(state, self._states[state.repeated_index])
            yield from self._warn_if_untranslated(state)
            if self._streaming:
                segment = state.segment
                long = segment.end - segment.start >= _LONG_SEGMENT_CHARS
                words = run_interruptible(self._segment_output, state) if long else self._segment_output(state)
                yield from self._emit_text(self._text[self._source_offset : segment.start] + words)
                self._source_offset = segment.end
            self._segments_written += 1
        if self._segments_written == len(self._states):
            yield from self._finish_document()

    def _segment_output(self, state: _SegmentState) -> str:
        """Return what stands in a segment's region of the output."""
        put = self._replacement_text(state)
        return self._text[state.segment.start : state.segment.end] if put is None else state.segment.encode(put)

    @staticmethod
    def _copy_repeated(state: _SegmentState, original: _SegmentState) -> None:
        state.translation, state.problems = original.translation, original.problems
        if original.status is SegmentStatus.UNTRANSLATED:
            state.status = SegmentStatus.UNTRANSLATED

    def _warn_if_untranslated(self, state: _SegmentState) -> Iterator[Notice]:
        if state.status is SegmentStatus.UNTRANSLATED:
            problem = state.problems[-1] if state.problems else "no translation was found"
            warning = f"line {self._line_number(state)}: left untranslated: {problem}"
            self._warnings.append(warning)
            yield Notice(warning, self.item)

    def _line_number(self, state: _SegmentState) -> int:
        return bisect_right(self._line_starts, state.segment.start) + 1

    def _emit_text(self, text: str) -> Iterator[Delta]:
        if self._job.document.bom and not self._output_parts:
            text = BOM + text
        if text:
            self._output_parts.append(text)
            yield Delta(text, self.item)

    def _finish_document(self) -> Iterator[JobStep]:
        if not self._streaming:
            yield from self._revert_invalid_translations()
        yield from self._emit_text(
            self._text[self._source_offset :] if self._streaming else run_interruptible(self._assemble_document)
        )
        self._record_outcomes()
        self._memory.flush()
        yield self._make_result()

    def _assemble_document(self) -> str:
        segments = [state.segment for state in self._states]
        texts = [self._replacement_text(state) for state in self._states]
        out = render_layout(self._job.layout, self._format, self._text, segments, texts)
        source = self._source_language
        if not any(texts) or source is None or self._job.layout is not OutputLayout.TRANSLATION:
            return out
        return self._format.replace_language(out, segments, source.code, self._translator.target.code)

    def _replacement_text(self, state: _SegmentState) -> str | None:
        """Return what to put in a segment's region; None leaves it byte for byte."""
        return None if self._translator.is_identity else state.translation

    def _revert_invalid_translations(self) -> Iterator[Notice]:
        """Revert the segments whose translations make the document invalid, where its source is valid."""
        for index in run_interruptible(self._find_invalid_translations):
            state = self._states[index]
            state.status, state.translation = SegmentStatus.UNTRANSLATED, None
            state.problems = [f"the {self._format.name} would not be valid with it"]
            yield from self._warn_if_untranslated(state)

    def _find_invalid_translations(self) -> list[int]:
        """Return the segments whose translations make the document invalid; of an invalid document none does."""
        return [] if self._format.check(self._text) else self._bisect_invalid(list(range(len(self._states))))

    def _bisect_invalid(self, indices: list[int]) -> list[int]:
        """Return those of some segments whose translations make the document invalid."""
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
        return self._format.join(self._text, segments, translations)

    def _record_outcomes(self) -> None:
        """Put the outcome of each segment into the report, and prepare the record for --update."""
        self._report.outcomes[self.item] = [
            SegmentOutcome(
                self._line_number(state),
                state.segment.kind,
                state.status,
                state.segment.text,
                state.segment.existing_translation if state.status is SegmentStatus.EXISTING else state.translation,
                max(0, state.job.attempts - 1) if state.job else 0,
                tuple(state.problems),
            )
            for state in self._states
        ]
        out = "".join(self._output_parts)
        self._target_file.prepare_record(
            self._text,
            out.removeprefix(BOM) if self._job.document.bom else out,
            self._format,
            [state.segment for state in self._states],
            [state.translation for state in self._states],
            whole=all(state.status is not SegmentStatus.UNTRANSLATED for state in self._states),
        )

    def _make_result(self) -> Result:
        counts = self._report.count_statuses(self.item)
        kept = counts.get(SegmentStatus.UNTRANSLATED, 0)
        left = [state.job for state in self._states if state.job and state.status is SegmentStatus.UNTRANSLATED]
        cut = [segment_job for segment_job in left if segment_job.is_truncated]
        by_user = any(segment_job.is_truncated_by_user for segment_job in cut)
        called = any(state.job for state in self._states) and self._translator.stub_translate is None
        return Result(
            self.item,
            self.name,
            "".join(self._output_parts),
            fields={
                "from": self._source_language.code if self._source_language else None,
                "to": self._translator.target.code,
                "format": self._format.name,
                "segments": len(self._states),
                "untranslated": kept,
                "statuses": counts,
            },
            model=self._translator.backend.info().model if called else "",
            prompt=self._translator.prompt.name,
            finish_reason=FinishReason.LENGTH if cut else FinishReason.STOP,
            usage=self._tally.usage,
            timings=self._tally.timings if called else Timings(),
            warnings=tuple(self._warnings),
            cut=kept > 0,
            incomplete=IncompleteOutput(unfinished=kept, total=len(self._states), limited=by_user) if kept else None,
        )


def _existing_region(region: str, _translation: str) -> str:
    return region


def translate(
    jobs: Iterable[TranslationJob | ItemFailed],
    *,
    remembered: TranslationMemoryCache | None = None,
    report: TranslationReport | None = None,
) -> Iterator[TaskEvent]:
    """Translate each document by segments: per item its Deltas in order, then Result or ItemFailed.

    All jobs have translators on one backend. Text outside of segments is copied byte for byte, and so is a segment for
    which no valid translation was found: a ``Notice`` says so, the Result's field ``untranslated`` counts them and its
    ``cut`` is set. Translations in ``remembered`` need no model; outputs are recorded there by ``record_on_rename``
    alone. An ``ItemFailed`` among the jobs is passed on in its position.
    ``Progress`` counts "segments".
    """
    remembered, rows = remembered or TranslationMemoryCache(None), report or TranslationReport()
    jobs = list(jobs)
    backend = next((job.translator.backend for job in jobs if isinstance(job, TranslationJob)), None)
    if backend is None:
        yield from (failed for failed in jobs if isinstance(failed, ItemFailed))
        return
    try:
        yield from run_document_jobs(
            backend,
            jobs,
            lambda item, job: _TranslationDocumentJob(job, item, remembered, rows),
            "segments",
            watched=_MAX_WATCHED_SEGMENTS,
        )
    finally:
        remembered.flush()
