"""translate: the same documents in another language; everything except the words stays unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from llmcli.documents.segments import protected_texts, split_at_protected
from llmcli.errors import PartialError
from llmcli.errors.incomplete_results import LARGER_MODEL_ADVICE, AnswerRefused
from llmcli.fast_dataclass import replace
from llmcli.interrupt import check_interrupt, run_interruptible
from llmcli.tasks.languages import MIN_LOG_ODDS
from llmcli.tasks.runner.task_run import TaskRun, run_inputs
from llmcli.tasks.translate.answer_checks import wrong_language_problem
from llmcli.tasks.translate.document_output import DocumentOutput
from llmcli.tasks.translate.document_plan import DocumentPlan
from llmcli.tasks.translate.language_check import LanguageEvidence, foreignness, is_doubtful, read_evidence
from llmcli.tasks.translate.memory_cache import TranslationMemoryCache
from llmcli.tasks.translate.segment_requests import SegmentTask, mask_segment
from llmcli.tasks.translate.segment_state import (
    SegmentOutcome,
    SegmentState,
    SegmentStatus,
    TranslationReport,
    count_statuses,
)
from llmcli.tasks.translate.segment_translation import (
    SegmentTranslation,
    translate_segment,
)
from llmcli.tasks.translate.target_file import TranslationSpec
from llmcli.types import FinishReason, ItemFailed, Notice, Result, TaskEvent, Timings

PROMPT = "translate"
REVIEW_PROMPT = "translate.review"
_MAX_WATCHED_SEGMENTS = 8
"""Number of segments whose tokens count as progress until one is done; afterwards segments are counted."""


def translate(
    specs: Iterable[TranslationSpec | ItemFailed],
    *,
    remembered: TranslationMemoryCache | None = None,
    report: TranslationReport | None = None,
    estimates_quality: bool = False,
) -> Iterator[TaskEvent]:
    """Translate each document by segments: per item its Deltas in order, then Result or ItemFailed.

    All have translators on one backend. Text outside of segments is copied byte for byte. So is a segment without
    a valid translation: a ``Notice`` says so, the Result's field ``untranslated`` counts such segments, and its ``cut``
    is set. Translations in ``remembered`` need no model; only ``record_on_rename`` records outputs there. An
    ``ItemFailed`` among the inputs is passed on in its position. ``Progress`` counts "segments". With
    ``estimates_quality``, results are as those of ``add_quality_estimates``, and ``Unsupported`` is raised if the
    backend cannot score translations.
    """
    memory, rows = remembered or TranslationMemoryCache(None), report or TranslationReport()
    specs = list(specs)
    backend = next((spec.translator.backend for spec in specs if isinstance(spec, TranslationSpec)), None)
    if backend is None:
        yield from (failed for failed in specs if isinstance(failed, ItemFailed))
        return
    if estimates_quality:
        from llmcli.tasks.translate.quality import require_token_scores

        require_token_scores(backend)

    async def task(run: TaskRun, spec: TranslationSpec) -> Result:
        result, outcomes = await translate_file(run, spec, memory, key=str(run.item), show=run.report)
        if estimates_quality:
            from llmcli.tasks.translate.quality import add_quality_estimates

            result, outcomes = await add_quality_estimates(run, spec.translator, result, outcomes)
        rows.outcomes[run.item] = outcomes
        return result

    try:
        yield from run_inputs(backend, specs, task, "segments", watched=_MAX_WATCHED_SEGMENTS)
    finally:
        memory.flush()


async def translate_file(
    run: TaskRun,
    spec: TranslationSpec,
    memory: TranslationMemoryCache,
    *,
    key: str,
    show: Callable[[TaskEvent], object],
) -> tuple[Result, list[SegmentOutcome]]:
    """Return the result of a document, whose segments run concurrently, and the outcome of each segment.

    ``show`` gets the pieces of the text and notices, among them what the format leaves out. The ids of the requests
    begin with ``key``. Raises ``BadDocument``, ``CannotCreate``, ``ContextOverflow`` (no room beside the
    instructions), the failure of a request, and ``AnswerRefused`` if the model refused each segment that it was to
    translate.
    """
    plan = run_interruptible(DocumentPlan, spec, memory)
    file = _FileTranslation(run, plan, key, show)
    if spec.keep_existing:
        plan.require_finished()
        return file.result_of_finished(), []
    file.report_omissions()
    await file.translate_segments()
    outcomes = file.finish()
    return file.make_result(outcomes), outcomes


class _FileTranslation:
    """The translation of one document as planned."""

    def __init__(self, run: TaskRun, plan: DocumentPlan, key: str, show: Callable[[TaskEvent], object]) -> None:
        self._run = run
        self._plan = plan
        self._spec = plan.spec
        self._key = key
        self._show = show
        self._memory = plan.memory
        self._translator = plan.spec.translator
        self._source_language = plan.source_language
        self._states = plan.states
        self._output = DocumentOutput(plan.spec, run.item, plan.format, plan.text, plan.states)
        self._doubtful: dict[int, LanguageEvidence] = {}
        """The translations whose language their neighbors decide, by segment."""

    def report_omissions(self) -> None:
        """Report the words that the document keeps in its language."""
        for sentence in run_interruptible(self._plan.format.find_omissions, self._plan.text):
            self._output.warnings.append(sentence)
            self._show(Notice(sentence, self._run.item))

    def result_of_finished(self) -> Result:
        """Return the result of a file that is finished already."""
        result = self.make_result([])
        return replace(result, text=None, fields={**result.fields, "finished": True})

    # ---- segments -------------------------------------------------------------------------------------------------

    async def translate_segments(self) -> None:
        """Apply the translations that are known, translate all other segments, and write them in order as they are done.

        Nothing is written while the model has refused all that it was to translate, since then the document fails.
        """
        outdated_edits = self._plan.apply_known_translations()
        if outdated_edits:
            words = "texts edited by people have a new source and are translated again"
            self._show(Notice(f"{outdated_edits} {words}", self._run.item))
        new = self._plan.new_segments
        if self._translator.stub_translate is not None:
            run_interruptible(self._apply_stub, new)
            return
        refusal: AnswerRefused | None = None
        has_answer = not new
        async for answer in self._run.each(self._plan.make_tasks(self._key), self._translate_segment):
            refusal, has_answer = answer.refusal, has_answer or answer.refusal is None
            if has_answer:
                self._write_finished_segments()
        if refusal is not None and not has_answer:
            raise refusal

    async def _translate_segment(self, task: tuple[int, SegmentTask]) -> SegmentTranslation:
        index, segment_task = task
        answer = await translate_segment(self._run, self._translator, segment_task)
        state = self._states[index]
        state.finish(answer)
        evidence = self._read_evidence(index)
        if evidence is not None and is_doubtful(evidence, self._source_language, self._translator.target):
            self._doubtful[index] = evidence
            state.done = False
        else:
            self._remember(state)
        for near in range(index - 1, index + 2):
            if near in self._doubtful:
                self._decide_language(near)
        return answer

    def _decide_language(self, index: int) -> None:
        """Accept or reject a translation in a doubtful language once the segments beside it are translated."""
        states, doubtful = self._states, self._doubtful
        around = range(max(0, index - 1), min(len(states), index + 2))
        state = states[index]
        if state.done or any(not states[near].done and near not in doubtful for near in around):
            return
        evidence = [doubtful.get(near) or self._read_evidence(near) for near in around]
        found = [one for one in evidence if one is not None]
        if foreignness(found, self._source_language, self._translator.target) > MIN_LOG_ODDS:
            state.revert(wrong_language_problem(self._translator.target))
        else:
            self._remember(state)
        state.done = True

    def _read_evidence(self, index: int) -> LanguageEvidence | None:
        """Return what shows the language of a segment's translation, None without one."""
        state = self._states[index]
        translation = state.segment.existing_translation or state.translation
        if translation is None:
            return None
        kept = protected_texts(state.segment.text, state.segment.protected)
        source, words = (
            " ".join(part for part, is_kept in split_at_protected(text, kept) if not is_kept)
            for text in (state.segment.text, translation)
        )
        return read_evidence(source, words)

    def _remember(self, state: SegmentState) -> None:
        if state.translation is not None:
            self._memory.add(state.segment, state.translation, self._source_language, self._translator)

    def _apply_stub(self, new: Sequence[int]) -> None:
        """Apply the translator's ``stub_translate`` to segments."""
        assert self._translator.stub_translate is not None
        for index in new:
            masked = mask_segment(self._states[index].segment, self._translator)
            self._states[index].finish(SegmentTranslation(masked.transform_unmasked(self._translator.stub_translate)))

    # ---- the output -----------------------------------------------------------------------------------------------

    def _write_finished_segments(self) -> None:
        check_interrupt()
        for event in self._output.write_finished_segments():
            self._show(event)

    def finish(self) -> list[SegmentOutcome]:
        """Write the rest, and return the outcome of each segment; prepare the record for --update."""
        self._write_finished_segments()
        for event in self._output.finish(self._source_language):
            self._show(event)
        self._plan.target_file.prepare_record(
            self._plan.text,
            self._output.text_without_bom,
            self._plan.format,
            [state.segment for state in self._states],
            [state.translation for state in self._states],
            whole=not any(state.is_untranslated for state in self._states),
        )
        self._memory.flush()
        return [state.outcome(self._output.line_number(state)) for state in self._states]

    def make_result(self, outcomes: Sequence[SegmentOutcome]) -> Result:
        """Return the result; the statuses of ``outcomes`` are counted."""
        statuses = count_statuses(outcomes)
        kept = statuses.get(SegmentStatus.UNTRANSLATED, 0)
        left = [state.answer for state in self._states if state.answer and state.is_untranslated]
        cut = [answer for answer in left if answer.is_truncated]
        by_user = any(answer.is_truncated_by_user for answer in cut)
        called = any(state.answer for state in self._states) and self._translator.stub_translate is None
        return Result(
            self._run.item,
            self._spec.name,
            self._output.text,
            fields={
                "from": self._source_language.code if self._source_language else None,
                "to": self._translator.target.code,
                "format": self._plan.format.name,
                "segments": len(self._states),
                "untranslated": kept,
                "statuses": statuses,
            },
            model=self._translator.backend.info().model if called else "",
            prompt=self._translator.prompt.name,
            finish_reason=FinishReason.LENGTH if cut else FinishReason.STOP,
            usage=self._run.usage.usage,
            timings=self._run.usage.timings if called else Timings(),
            warnings=(*self._run.warnings, *self._output.warnings),
            cut=kept > 0,
            incomplete=incomplete_output(kept, len(self._states), limited=by_user) if kept else None,
            data=self._output.data,
        )


def incomplete_output(unfinished: int, total: int, *, limited: bool = False) -> PartialError:
    """Return the error of a document with unchanged segments; ``limited``: a limit of the user cut their answers."""
    segments = f"segment{'' if total == 1 else 's'}"
    were = "was" if unfinished == 1 else "were"
    advice = "raise or leave out --max-tokens" if limited else LARGER_MODEL_ADVICE
    return PartialError(
        message=f"{unfinished} of {total} {segments} {were} left untranslated",
        advice=f"The warnings say why; {advice}",
        type_name="LeftUndone",
    )
