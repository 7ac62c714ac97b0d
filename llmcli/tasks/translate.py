"""translate: the same documents in another language; everything except the words stays unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from llmcli.errors import CannotCreate, UsageError
from llmcli.errors.incomplete_results import IncompleteOutput
from llmcli.frozen_dataclass import replace
from llmcli.interrupt import check_interrupt, run_interruptible
from llmcli.tasks.execution.document_jobs import CancelRequest, DocumentJob, JobStep, run_document_jobs
from llmcli.tasks.runner.answers import UsageTally
from llmcli.tasks.translation.language_detection import detect_language
from llmcli.tasks.translation.per_file.bilingual import OutputLayout
from llmcli.tasks.translation.per_file.document_output import DocumentOutput
from llmcli.tasks.translation.per_file.memory_cache import TranslationMemoryCache
from llmcli.tasks.translation.per_file.segment_state import SegmentState
from llmcli.tasks.translation.per_file.target_file import TargetFile, TranslationJob
from llmcli.tasks.translation.per_file.translation_report import SegmentOutcome, SegmentStatus, TranslationReport
from llmcli.tasks.translation.per_segment.answer_checks import is_usable_translation
from llmcli.tasks.translation.per_segment.segment_job import SegmentJob
from llmcli.tasks.translation.translator import SegmentContext
from llmcli.types import Event, FinishReason, ItemFailed, Notice, Request, Result, TaskEvent, Timings

PROMPT = "translate"
REVIEW_PROMPT = "translate.review"
_MAX_WATCHED_SEGMENTS = 8
"""Number of segments whose tokens count as progress until one is done; afterwards segments are counted."""
_PRECEDING_CHARS = 200
"""Number of characters before a segment that the model sees."""
_MAX_PATH_PARTS = 3
"""Number of headings or keys above a segment that the model sees."""


class _TranslationDocumentJob:
    """The translation of one document: its segments run concurrently."""

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
        self._output = DocumentOutput(job, item, self._format)
        self._text = ""  # set by ``start``
        self._states: list[SegmentState] = []
        self._has_answer = False
        self._source_language = job.source
        self._tally = UsageTally()

    def start(self) -> Iterator[JobStep]:
        """Begin. Raises ``BadDocument``, ``WouldLoseEdits``, ``ContextOverflow`` (no room beside the instructions)."""
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
        yield from self._write_output()

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Handle an event of one of its requests. Raises its failure, and ``AnswerRefused`` if all were refused."""
        state = self._states[int(event.id.split(".")[1])]
        segment_job = state.job
        if segment_job is None:
            return
        was = segment_job.done
        yield from segment_job.handle_event(event)
        if segment_job.done and not was:
            if segment_job.refusal is not None and self._are_all_refused():
                raise segment_job.refusal
            self._store_translation(state, segment_job)
            yield from self._write_output()

    def _are_all_refused(self) -> bool:
        """Whether the model has refused each segment that it was to translate."""
        return all(state.job is None or state.job.refusal is not None for state in self._states)

    def _parse(self) -> None:
        """Find the segments, and detect the source language if it is not given."""
        self._text = self._target_file.text_to_translate(self._format)
        segments = self._format.split(self._text, self._translator.target.code)
        self._states = [SegmentState(segment) for segment in segments]
        self._output.begin(self._text, self._states)
        if self._source_language is None and self._translator.stub_translate is None:
            self._source_language = detect_language("\n".join(segment.text for segment in segments))

    # ---- known translations ----------------------------------------------------------------------------------------

    def _apply_known_translations(self) -> Iterator[Notice]:
        """Apply existing translations to their segments. Raises ``WouldLoseEdits``."""
        carried = self._target_file.carry_over(
            [state.segment for state in self._states], self._source_language, self._format
        )
        if carried.outdated_edits:
            words = "texts edited by people have a new source and are translated again"
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
                if known is not None and is_usable_translation(segment, known):
                    state.status, state.translation = SegmentStatus.MEMORY, known
                first[key] = index

    def _result_of_finished_file(self) -> Result:
        """Return the result of a file that is finished already. Raises ``CannotCreate`` for any other file."""
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

    def _make_segment_jobs(self, new: Sequence[tuple[int, SegmentState]]) -> list[SegmentJob]:
        """Return a segment job for each of ``new``; jobs that need no model are done."""
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
        """Return the text of each segment job, split to fit one request, with the token counts of its pieces."""
        if not segment_jobs or self._translator.stub_translate is not None:
            return [[(segment_job.masked_text, 0)] for segment_job in segment_jobs]
        budget = self._translator.context_budget(self.name)
        found = []
        counts = budget.count_tokens([segment_job.masked_text for segment_job in segment_jobs])
        for segment_job, tokens in zip(segment_jobs, counts, strict=True):
            if budget.fits_tokens(tokens):
                found.append([(segment_job.masked_text, tokens)])
            else:
                texts = list(budget.split_to_fit(segment_job.masked_text))
                found.append(list(zip(texts, budget.count_tokens(texts), strict=True)))
        return found

    def _segment_context(self, index: int) -> SegmentContext:
        segment = self._states[index].segment
        path, before = " > ".join(segment.path[-_MAX_PATH_PARTS:]), ""
        if segment.kind != "message" and index > 0:  # messages of a program do not follow from each other
            before = self._states[index - 1].segment.text[-_PRECEDING_CHARS:]
        return SegmentContext(path, before, segment.note)

    def _store_translation(self, state: SegmentState, segment_job: SegmentJob) -> None:
        state.problems = segment_job.problems
        self._has_answer = self._has_answer or segment_job.refusal is None
        if segment_job.translation is None:
            state.status = SegmentStatus.UNTRANSLATED
        else:
            state.translation = segment_job.translation
            self._memory.add(state.segment, segment_job.translation, self._source_language, self._translator)

    # ---- the output -----------------------------------------------------------------------------------------------

    def _write_output(self) -> Iterator[JobStep]:
        """Write the finished segments; after the last one, end the document.

        Nothing is written while the model has refused all that it was to translate, since then the document fails.
        """
        if not self._has_answer and any(state.job for state in self._states):
            return
        yield from self._output.write_finished_segments()
        if self._output.all_written:
            yield from self._output.finish(self._source_language)
            self._record_outcomes()
            self._memory.flush()
            yield self._make_result()

    def _record_outcomes(self) -> None:
        """Put the outcome of each segment into the report, and prepare the record for --update."""
        self._report.outcomes[self.item] = [
            SegmentOutcome(
                self._output.line_number(state),
                state.segment.kind,
                state.status,
                state.segment.text,
                state.segment.existing_translation if state.status is SegmentStatus.EXISTING else state.translation,
                max(0, state.job.attempts - 1) if state.job else 0,
                tuple(state.problems),
            )
            for state in self._states
        ]
        self._target_file.prepare_record(
            self._text,
            self._output.text_without_bom,
            self._format,
            [state.segment for state in self._states],
            [state.translation for state in self._states],
            whole=not any(state.is_untranslated for state in self._states),
        )

    def _make_result(self) -> Result:
        counts = self._report.count_statuses(self.item)
        kept = counts.get(SegmentStatus.UNTRANSLATED, 0)
        left = [state.job for state in self._states if state.job and state.is_untranslated]
        cut = [segment_job for segment_job in left if segment_job.is_truncated]
        by_user = any(segment_job.is_truncated_by_user for segment_job in cut)
        called = any(state.job for state in self._states) and self._translator.stub_translate is None
        return Result(
            self.item,
            self.name,
            self._output.text,
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
            warnings=tuple(self._output.warnings),
            cut=kept > 0,
            incomplete=IncompleteOutput(unfinished=kept, total=len(self._states), limited=by_user) if kept else None,
        )


def _existing_region(region: str, _translation: str) -> str:
    return region


def make_translation_job(job: TranslationJob, item: int, remembered: TranslationMemoryCache) -> DocumentJob:
    """Return the document job of one translation; ``item`` begins the ids of its requests."""
    return _TranslationDocumentJob(job, item, remembered, TranslationReport())


def translate(
    jobs: Iterable[TranslationJob | ItemFailed],
    *,
    remembered: TranslationMemoryCache | None = None,
    report: TranslationReport | None = None,
) -> Iterator[TaskEvent]:
    """Translate each document by segments: per item its Deltas in order, then Result or ItemFailed.

    All jobs have translators on one backend. Text outside of segments is copied byte for byte. So is a segment without
    a valid translation: a ``Notice`` says so, the Result's field ``untranslated`` counts such segments, and its ``cut``
    is set. Translations in ``remembered`` need no model; only ``record_on_rename`` records outputs there. An
    ``ItemFailed`` among the jobs is passed on in its position. ``Progress`` counts "segments".
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
