"""A written summary: from the parts of a document, in stages, to one summary."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from llmcli.documents.reading.document import Document
from llmcli.documents.text_lines import count_line_ends, line_at
from llmcli.errors import EmptyInput, LlmError, ProcessStopped, TimedOut
from llmcli.errors.incomplete_results import (
    LARGER_MODEL_ADVICE,
    EmptyAnswer,
    InvalidAnswer,
    MissingPart,
    PartsMissing,
    ValuesNotRestored,
)
from llmcli.fast_dataclass import asdict, frozen, replace
from llmcli.tasks.runner.answers import (
    EMPTY_ANSWER_MESSAGE,
    Answer,
    Reading,
    ask_until,
    is_truncated,
    truncation_error,
    unrestored_warnings,
)
from llmcli.tasks.runner.constrained_answers import ask_constrained
from llmcli.tasks.runner.context_budget import ContextBudget
from llmcli.tasks.runner.instruction_echo import LeadingEchoFilter, ask_without_echo, without_instructions
from llmcli.tasks.runner.task_requests import GenerationOptions, make_retry
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.tasks.runner.text_answers import DeltaReporter, ask_for_visible_text
from llmcli.tasks.summarize.summary_form import clean_summary, form_grammar
from llmcli.tasks.summarize.summary_options import WRITTEN_METHOD, length_warning
from llmcli.tasks.summarize.summary_plan import SummaryPlan
from llmcli.types import REPETITION_LIMIT, Delta, FinishReason, Request, Result

MERGE_STEP = "merging"
"""The step that summarizes summaries."""
MAX_ATTEMPTS = 2
"""Attempts at a part."""
MAX_SHRINK_SHARE = 0.8  # a stage has stalled if its text is longer than this share of the text before it
MAX_STALLS = 4  # after this many stalled stages, each with half the answer length of the last, the document fails

REPEATS_REQUEST = "repeats the words of the request"
"""What is wrong with a summary that is about the request instead of the text, as the end of "the summary ..."."""
_MAX_SHOWN_CHARS = 400
"""Of a summary that was cut at its limit: as much as shows the model what was wrong, so that the context has room."""


def write_summary(
    run: TaskRun, plan: SummaryPlan, document: Document, *, shows_text: bool = True
) -> Coroutine[Any, Any, Result]:
    """Return the summary of a document, when it is awaited.

    ``shows_text``: it is reported while it comes. Raises ``EmptyInput`` for a blank document, ``ContextOverflow`` where
    the instructions leave no room for text or summaries do not get shorter than their texts, ``EmptyAnswer``, and the
    failure of a request.
    """
    return _WrittenSummary(run, plan, shows_text=shows_text).write(StageText(document.text))


class _WrittenSummary:
    """The summary of one document while it is written."""

    def __init__(self, run: TaskRun, plan: SummaryPlan, *, shows_text: bool) -> None:
        self._run = run
        self._plan = plan
        self._shows_text = shows_text
        self._unrestored: list[str] = []
        self._missing: list[MissingPart] = []

    async def write(self, source: StageText) -> Result:
        """Summarize the text of each stage: in one request if it fits, else in parts, which give the next text."""
        run, plan = self._run, self._plan
        if not source.text.strip():
            raise EmptyInput(run.name)
        stage = stalls = 0
        previous_chars: int | None = None
        coverage = 1.0
        while True:
            limit = plan.final_limit(stage)
            room = plan.budget(stage, limit, is_last=True, subject=run.name)
            passages: Iterator[str] = iter([source.text])
            fits = room.fits(source.text)
            if not fits:
                stalls = _count_stalls(stalls, source.text, previous_chars, room)
                passages = plan.split(stage, source.text, stalls, subject=run.name)
            placed = [(number, *place) for number, place in enumerate(source.locate_passages(passages), 1)]
            run.step = MERGE_STEP if stage else ""
            if len(placed) == 1 and (fits or not plan.earlier):
                request = plan.request(f"{run.item}.{stage}.1", stage, source.text, limit, is_last=True)
                del source
                return self._result(await self._write_last(request, plan.instructions(stage, is_last=True)), coverage)
            previous_chars = len(source.text)
            requests = self._part_requests(stage, source.text, placed, plan.part_limit(stage, stalls))
            summarize_part = partial(self._summarize_part, plan.instructions(stage, is_last=False))
            del source  # when all parts are requested, the next document may be read: this one is not kept
            parts = [part async for part in run.each(requests, summarize_part, total=len(placed))]
            for part in parts:
                self._note_problem(part, stage, len(parts))
            if stage == 0:
                coverage = share_read(parts)
            source = StageText.join_summaries(parts)
            if not source.text:
                raise EmptyAnswer(run.name)
            stage += 1

    # ---- parts ----------------------------------------------------------------------------------------------------

    def _part_requests(
        self, stage: int, text: str, placed: list[tuple[int, slice, DocumentRange]], limit: int
    ) -> Iterator[tuple[int, DocumentRange, Request]]:
        """Yield the requests for parts, each with its number from 1, its place in the text, and what it covers."""
        for number, where, covered in placed:
            name = f"{self._run.item}.{stage}.{number}"
            request = self._plan.request(name, stage, text[where], limit, part=number, parts=len(placed))
            yield number, covered, request

    async def _summarize_part(self, instructions: str, part: tuple[int, DocumentRange, Request]) -> SummaryPart:
        """Ask for a part, and once more if the answer is empty or cut; the better of both answers counts.

        One that only repeats the ``instructions`` is empty.
        """
        number, covered, request = part
        del part

        async def ask(attempt: _PartAttempt) -> Reading[Answer]:
            work = ask_without_echo(self._run, attempt.request, instructions)
            earlier = attempt.earlier
            answer = await work if earlier is None or earlier.is_empty else await _answer_or_none(work) or earlier
            return Reading(answer, part_problem(answer) or "")

        def retry(attempt: _PartAttempt, last: Reading[Answer]) -> _PartAttempt | None:
            again = retry_part(attempt.request, last.value, self._plan.options)
            return None if again is None else _PartAttempt(again, last.value)

        readings = await ask_until(ask, _PartAttempt(request), retry, attempts=MAX_ATTEMPTS)
        # if both are cut, the first one: the longer one may be no shorter than the text that it summarizes
        answer = min((reading.value for reading in readings), key=lambda each: PROBLEM_RANKS[part_problem(each)])
        self._unrestored += answer.finished.unrestored
        return SummaryPart(number, covered, answer)

    def _note_problem(self, part: SummaryPart, stage: int, count: int) -> None:
        """Record a part whose answers were empty or cut."""
        if part.problem is None:
            return
        for file, first, last in self._lines_of(part):
            self._missing.append(MissingPart(first, last, part.number, count, stage, part.problem, file))
            where = f"{file}: " if file else ""
            lines = f"line {first}" if first == last else f"lines {first} to {last}"
            where += f"{lines}, part {part.number} of {count}"
            where += f" of stage {stage + 1}" if stage else ""
            tokens = part.answer.finished.usage.completion_tokens
            what = EMPTY_ANSWER_MESSAGE if part.problem == "empty" else f"its summary was cut at {tokens} tokens"
            self._run.warn(f"{where}: {what}")

    def _lines_of(self, part: SummaryPart) -> Iterator[tuple[str, int, int]]:
        """Yield the lines that a part covers, with the document's name if there are several."""
        if self._plan.combined is None:
            yield ("", part.covered.first_line, part.covered.last_line)
            return
        for document, start, end in self._plan.combined.ranges(part.covered.start, part.covered.end):
            yield (document.name, *line_range(document.text, (start, end)))

    # ---- the last stage -------------------------------------------------------------------------------------------

    async def _write_last(self, request: Request, instructions: str) -> tuple[Answer, str, str]:
        """Return the summary, what is wrong with its length, and ``REPEATS_REQUEST`` if it is no summary.

        One that misses the length or the form, or repeats the ``instructions``, is written again. Of both the better
        one is delivered, without what stands around it. Raises ``EmptyAnswer``.
        """
        run, plan = self._run, self._plan
        shown_text = ""

        async def ask(request: Request) -> Answer:
            nonlocal shown_text
            answer, shown_text = await self._ask_last(request, instructions)
            return answer

        answer, request = await ask_for_visible_text(ask, request, plan.options, subject=run.name)
        own = without_instructions(answer, request, instructions)
        repeats = REPEATS_REQUEST if own.text != answer.text else ""
        if shown_text.strip():
            answer = replace(answer, text=shown_text)
            own = without_instructions(answer, request, instructions)
            return answer, "", REPEATS_REQUEST if own.text != shown_text else ""
        shown = answer.text if own.is_empty else own.text
        answer = self._clean(own)
        wrong = repeats or plan.form_problem(answer.text)
        missed = wrong or length_warning(answer.text, plan.words)
        # in the wrong form some models go on to the limit; if that is the user's, the next answer would be cut, too
        runs_on = answer.finished.reason is FinishReason.LENGTH and wrong and plan.options.max_tokens is None
        if runs_on or (answer.finished.reason is FinishReason.STOP and missed):
            answer = await self._rewrite(request, answer, shown, wrong, instructions)
        if self._shows_text:
            run.report(Delta(answer.text, run.item))
        return answer, length_warning(answer.text, plan.words), REPEATS_REQUEST if answer.is_empty else ""

    async def _ask_last(self, request: Request, instructions: str) -> tuple[Answer, str]:
        """Return the answer, and what was shown of it while it was written: of one that may be written again, nothing.

        What it repeats of the ``instructions`` before its first sentence is not shown.
        """
        if not self._shows_text or not self._plan.options.shows_deltas or self._plan.may_rewrite:
            return await self._run.ask(request, on_delta=self._on_reasoning()), ""
        reporter = LeadingEchoFilter(DeltaReporter(self._run, shows_text=True), request, instructions)
        answer = await self._run.ask(request, on_delta=reporter)
        return answer, reporter.finish(answer).text

    def _on_reasoning(self) -> DeltaReporter:
        """Return what reports the pieces of the reasoning alone."""
        return DeltaReporter(self._run, shows_text=False)

    async def _rewrite(self, request: Request, draft: Answer, shown: str, problem: str, instructions: str) -> Answer:
        """Return a summary that meets form and length better than the draft, else the draft.

        ``shown``: the draft as the model sees it. ``problem``: what is wrong with it apart from the length.
        """
        plan, cut = self._plan, draft.finished.reason is FinishReason.LENGTH
        rewrite = plan.rewrite_request(request, shown[:_MAX_SHOWN_CHARS] if cut else shown, problem)
        if rewrite is None:
            return draft
        again, said = rewrite
        grammar = form_grammar(shown, plan.style) if problem else None
        found = await _answer_or_none(self._ask_in_form(again, f"{instructions}\n{said}", grammar))
        if found is None:
            return draft
        answer = self._clean(found)
        complete = answer.finished.reason is FinishReason.STOP and not answer.is_empty
        mended = problem == REPEATS_REQUEST and not plan.form_problem(answer.text)
        return answer if complete and (cut or mended or plan.is_better(answer.text, draft.text)) else draft

    async def _ask_in_form(self, request: Request, instructions: str, grammar: str | None) -> Answer:
        """Return an answer under a grammar if the backend has them; its reasoning is reported without a grammar."""
        if grammar is None:
            return await ask_without_echo(self._run, request, instructions, on_delta=self._on_reasoning())

        def ask(request: Request) -> Coroutine[Any, Any, Answer]:
            return ask_without_echo(self._run, request, instructions)

        answer, _ = await ask_constrained(ask, request, [lambda free: replace(free, grammar=grammar)])
        return answer

    def _clean(self, answer: Answer) -> Answer:
        return replace(answer, text=clean_summary(answer.text, self._plan.style)) if self._plan.checks_form else answer

    def _result(self, written: tuple[Answer, str, str], coverage: float) -> Result:
        answer, wrong_length, repeats = written
        run, plan = self._run, self._plan
        finished, missing = answer.finished, tuple(self._missing)
        self._unrestored += finished.unrestored
        cut = is_truncated(finished, plan.options)
        if cut and missing:
            run.warn("the summary was cut at a limit")
        wrong_form = repeats or plan.form_problem(answer.text)
        if wrong_length and plan.row is None and not wrong_form:
            run.warn(wrong_length)
        elif wrong_length:  # of many records: only in the result
            run.warnings.append(wrong_length)
        limited = any(part.reason == "cut" for part in missing)
        incomplete: LlmError | None = None
        if missing:
            incomplete = PartsMissing(run.name, missing)
        elif cut:
            incomplete = truncation_error(finished)
        elif self._unrestored:
            incomplete = ValuesNotRestored(run.name, tuple(self._unrestored))
        elif wrong_form:
            incomplete = InvalidAnswer(
                run.name,
                detail=wrong_form,
                message="the summary {detail}" if run.name == "-" else "the summary of {subject} {detail}",
                advice=f"It is printed as it is; leave out --style, or {LARGER_MODEL_ADVICE}",
                type_name="WrongSummaryForm",
            )
        return run.result(
            answer.text,
            {
                "method": WRITTEN_METHOD,
                "coverage": coverage,
                "missing": [_part_as_object(part) for part in missing],
            },
            prompt=plan.prompt(0, is_last=True).name,
            finish_reason=FinishReason.LENGTH if limited else finished.reason,
            warnings=(*run.warnings, *unrestored_warnings(self._unrestored)),
            cut=incomplete is not None,
            incomplete=incomplete,
        )


async def _answer_or_none(work: Coroutine[Any, Any, Answer]) -> Answer | None:
    """Return a later answer; None if its request fails, since the earlier answer can be used."""
    try:
        return await work
    except (TimedOut, ProcessStopped):
        raise
    except LlmError:
        return None


def _count_stalls(stalls: int, text: str, previous_chars: int | None, room: ContextBudget) -> int:
    """Return how many stages have not made their text much shorter. Raises ``ContextOverflow`` for too many."""
    if previous_chars is None or len(text) <= MAX_SHRINK_SHARE * previous_chars:
        return stalls
    if stalls >= MAX_STALLS:
        raise room.overflow_error(room.count_tokens([text])[0])
    return stalls + 1


def _part_as_object(part: MissingPart) -> dict[str, object]:
    """Return the fields, ``file`` only if there are several documents."""
    return {name: value for name, value in asdict(part).items() if value != ""}


_SEPARATOR = "\n\n"
"""Separates the summaries in the text of the next stage."""

PartProblem = Literal["empty", "cut"]


@frozen
class DocumentRange:
    """A range of a document: offsets, and the first and the last line (from 1)."""

    start: int
    end: int
    first_line: int
    last_line: int


@frozen
class _PartAttempt:
    """An attempt at a part: its request, and the answer of the attempt before it."""

    request: Request
    earlier: Answer | None = None


@frozen
class SummaryPart:
    """A passage of a stage's text, number ``number`` from 1, and its answer; ``covered``: the range of the document.

    ``problem`` is what is wrong with the answer, None if it is complete.
    """

    number: int
    covered: DocumentRange
    answer: Answer

    @property
    def problem(self) -> PartProblem | None:
        """What is wrong with the answer; None if it is complete."""
        return part_problem(self.answer)


PROBLEM_RANKS: Mapping[PartProblem | None, int] = {None: 0, "cut": 1, "empty": 2}


def part_problem(answer: Answer) -> PartProblem | None:
    """Return what is wrong with the answer about a part, None if it is complete."""
    if answer.is_empty:
        return "empty"
    return "cut" if answer.finished.reason is FinishReason.LENGTH else None


def retry_part(request: Request, answer: Answer, options: GenerationOptions) -> Request | None:
    """Return the request for a second attempt at a part; None if it would not differ.

    After a cut answer it may be twice as long.
    """
    again, finished, limit = make_retry(request, options), answer.finished, request.max_tokens
    by_limit = finished.reason is FinishReason.LENGTH and finished.limit != REPETITION_LIMIT
    if by_limit and limit is not None:
        again = replace(again or request, id=f"{request.id}.again", max_tokens=2 * limit)
    return again


@frozen
class StageText:
    """The text of a stage; ``origins``: (the end of a range of it, the range of the document that it covers)."""

    text: str
    origins: tuple[tuple[int, DocumentRange], ...] = ()

    @classmethod
    def join_summaries(cls, parts: Iterable[SummaryPart]) -> StageText:
        """Return the text of the next stage: the summaries that are not empty."""
        texts: list[str] = []
        origins: list[tuple[int, DocumentRange]] = []
        at = 0
        for part in parts:
            text = part.answer.text.strip()
            if text:
                at += len(text) + len(_SEPARATOR)
                texts.append(text)
                origins.append((at, part.covered))
        return cls(_SEPARATOR.join(texts), tuple(origins))

    def locate_passages(self, passages: Iterable[str]) -> list[tuple[slice, DocumentRange]]:
        """Return where the passages of the text stand, without blank ones, and the range of the document of each."""
        placed, at, line = [], 0, 1
        for passage in passages:
            words = passage.strip()
            if words:
                leading = len(passage) - len(passage.lstrip())
                start, first_line = at + leading, line + count_line_ends(passage[:leading])
                whole = DocumentRange(start, start + len(words), first_line, first_line + count_line_ends(words))
                placed.append(
                    (slice(at, at + len(passage)), self._find_document_range(whole) if self.origins else whole)
                )
            at += len(passage)
            line += count_line_ends(passage)
        return placed

    def _find_document_range(self, passage: DocumentRange) -> DocumentRange:
        """Return the range of the document that a range of this text covers."""
        begins = [0, *(end for end, _ in self.origins[:-1])]
        touched = [
            covered
            for begin, (end, covered) in zip(begins, self.origins, strict=True)
            if begin < passage.end and passage.start < end
        ]
        first, last = min(touched, key=lambda each: each.start), max(touched, key=lambda each: each.end)
        return DocumentRange(first.start, last.end, first.first_line, last.last_line)


def share_read(parts: Sequence[SummaryPart]) -> float:
    """Return the share of the parts' tokens that a call with an answer has read.

    A server that reports no tokens leaves the characters.
    """
    sizes = [part.answer.finished.usage.prompt_tokens for part in parts]
    if not all(sizes):
        sizes = [part.covered.end - part.covered.start for part in parts]
    read = sum(size for size, part in zip(sizes, parts, strict=True) if part.problem != "empty")
    return round(read / max(1, sum(sizes)), 6)


def line_range(document: str, offsets: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last line (from 1) of a range in a document."""
    return line_at(document, offsets[0]), line_at(document, offsets[1] - 1)
