"""The job of a written summary: its stages, from the parts of the document to one summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmcli.documents.reading.document import Document
from llmcli.errors import EmptyInput
from llmcli.errors.incomplete_results import EmptyAnswer, MissingPart, PartsMissing, ValuesNotRestored
from llmcli.frozen_dataclass import asdict
from llmcli.tasks.execution.context_budget import ContextBudget
from llmcli.tasks.execution.document_jobs import JobStep, WaitForCapacity
from llmcli.tasks.execution.response_buffer import (
    EMPTY_ANSWER_MESSAGE,
    ResponseBuffer,
    UsageTally,
    is_empty,
    is_truncated,
    raise_request_error,
    require_finished,
    truncation_error,
    unrestored_warnings,
)
from llmcli.tasks.summarization.summary_length import length_warning
from llmcli.tasks.summarization.summary_options import WRITTEN_METHOD
from llmcli.tasks.summarization.summary_parts import StageText, SummaryPart, line_range, share_read
from llmcli.tasks.summarization.summary_plan import SummaryPlan
from llmcli.types import (
    Delta,
    Event,
    Finished,
    FinishReason,
    Notice,
    ReasoningDelta,
    Result,
    TextDelta,
)

MERGE_STEP = "merging"
"""The step that summarizes summaries."""
MAX_SHRINK_SHARE = 0.8  # a stage has stalled if its text is longer than this share of the text before it
MAX_STALLS = 4  # after this many stalled stages, each with half the answer length of the last, the document fails


class SummaryJob:
    """The job of one document: its current stage and its pending answers."""

    def __init__(self, plan: SummaryPlan, item: int, document: Document) -> None:
        self.item = item
        self.name = document.name
        self._plan = plan
        self._tally = UsageTally()
        self._warnings: list[str] = []
        self._unrestored: list[str] = []
        self._missing_parts: list[MissingPart] = []
        self._source = StageText(document.text)
        """The text of this stage until its parts are requested."""
        self._stage = 0
        self._previous_chars: int | None = None  # characters of the text of the last stage
        self._stalls = 0
        self._parts: list[SummaryPart] = []  # the parts of this stage that were requested, in the order of the text
        self._part_count = 0
        self._running: dict[str, SummaryPart] = {}
        self._coverage = 1.0
        self._is_last_stage = False  # whether the answer of this stage is the final summary
        self._held_text: str | None = ""  # blanks of the summary before its first visible character
        self._draft: tuple[ResponseBuffer, Finished] | None = None  # a summary that missed the wanted length

    @property
    def step(self) -> str:
        """The step of this stage's requests."""
        return MERGE_STEP if self._stage else ""

    def start(self) -> Iterator[JobStep]:
        """Begin; raises ``EmptyInput`` for a blank document."""
        if not self._source.text.strip():
            raise EmptyInput(self.name)
        yield from self._start_stage()

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Handle an event. Raises the failure of a request, and ``EmptyAnswer`` if all attempts were empty."""
        part = self._running[event.id]
        part.response.add_event(event)
        if isinstance(event, TextDelta | ReasoningDelta) and self._is_last_stage:
            yield from self._stream_summary(event)
        if not isinstance(event, Finished):
            return
        del self._running[event.id]
        self._tally.add(event)
        self._unrestored += event.unrestored
        if self._draft is None or event.error is None:
            raise_request_error(event)
        # text that was shown stays, and the user's limit applies
        final = self._is_last_stage and event.reason is FinishReason.LENGTH
        again = None if final else part.finish_attempt(self._plan.options)
        if again is not None:
            self._running[again.id] = part
            self._held_text = ""
            yield again
            return
        if self._is_last_stage:
            yield from self._finish_or_rewrite(part, event)
            return
        part.drop_request_text()
        yield from self._report_bad_part(part)
        if len(self._parts) == self._part_count and all(other.done for other in self._parts):
            if self._stage == 0:
                self._coverage = share_read(self._parts)
            self._source = StageText.join_summaries(self._parts)
            if not self._source.text:
                raise EmptyAnswer(self.name)
            self._stage += 1
            yield from self._start_stage()

    def _stream_summary(self, event: TextDelta | ReasoningDelta) -> Iterator[Delta]:
        """Yield a piece of the summary; leading blanks are held back, since an empty answer is retried."""
        if isinstance(event, ReasoningDelta):
            yield Delta(event.text, self.item, reasoning=True)
        elif self._plan.may_rewrite:
            return  # it is shown when its length is known
        elif self._held_text is None:
            yield Delta(event.text, self.item)
        else:
            self._held_text += event.text
            if self._held_text.strip():
                yield Delta(self._held_text, self.item)
                self._held_text = None

    def _start_stage(self) -> Iterator[JobStep]:
        """Yield the requests of this stage: one if its text fits, else one a part.

        Raises ``ContextOverflow`` when the instructions leave no room for text, or when the summaries do not get
        shorter than their texts.
        """
        plan, stage, text = self._plan, self._stage, self._source.text
        limit = of_part = plan.final_limit(stage)
        room = plan.budget(stage, limit, is_last=True, subject=self.name)
        pieces: Iterable[str] = [text]
        fits = room.fits(text)
        if not fits:
            self._check_shrinking(room)
            of_part = plan.part_limit(stage, self._stalls)
            pieces = plan.split(stage, text, self._stalls, subject=self.name)
        placed = self._source.locate_pieces(pieces)
        self._part_count = count = len(placed)
        is_last = self._is_last_stage = count == 1 and (fits or not plan.earlier)
        if not is_last:
            limit = of_part
        self._previous_chars = len(text)
        self._parts = []
        self._held_text = ""
        for number, (where, covered) in enumerate(placed, 1):
            yield WaitForCapacity(count - number + 1)
            name = f"{self.item}.{stage}.{number}"
            request = plan.request(name, stage, text[where], limit, part=number, parts=count, is_last=is_last)
            self._running[name] = SummaryPart(covered, request)
            self._parts.append(self._running[name])
            yield request
        self._source = StageText("")  # the next document may be read now: this one is not kept

    def _check_shrinking(self, room: ContextBudget) -> None:
        if self._previous_chars is not None and len(self._source.text) > MAX_SHRINK_SHARE * self._previous_chars:
            self._stalls += 1
            if self._stalls > MAX_STALLS:
                raise room.overflow_error(room.count_tokens([self._source.text])[0])

    def _report_bad_part(self, part: SummaryPart) -> Iterator[Notice]:
        """Record a part whose last attempt is empty or cut as well."""
        if part.problem is None:
            return
        number, count = self._parts.index(part) + 1, self._part_count
        for file, first, last in self._lines_of(part):
            self._missing_parts.append(MissingPart(first, last, number, count, self._stage, part.problem, file))
            where = f"{file}: " if file else ""
            lines = f"line {first}" if first == last else f"lines {first} to {last}"
            where += f"{lines}, part {number} of {count}"
            where += f" of stage {self._stage + 1}" if self._stage else ""
            tokens = require_finished(part.response).usage.completion_tokens
            what = EMPTY_ANSWER_MESSAGE if part.problem == "empty" else f"its summary was cut at {tokens} tokens"
            yield self._warn(f"{where}: {what}")

    def _lines_of(self, part: SummaryPart) -> Iterator[tuple[str, int, int]]:
        """Yield the lines that a part covers, with the document's name if there are several."""
        if self._plan.combined is None:
            yield ("", part.covered.first_line, part.covered.last_line)
            return
        for document, start, end in self._plan.combined.ranges(part.covered.start, part.covered.end):
            yield (document.name, *line_range(document.text, (start, end)))

    def _finish_or_rewrite(self, part: SummaryPart, finished: Finished) -> Iterator[JobStep]:
        """Yield the summary, or the request for one that meets the length better; of both, the better one is delivered."""
        plan, answer = self._plan, part.response
        if not plan.may_rewrite or (self._draft is None and is_empty(answer)):
            yield from self._finish_summary(answer, finished)
            return
        if self._draft is None and finished.reason is FinishReason.STOP and length_warning(answer.text, plan.words):
            again = plan.rewrite_request(part.request, answer.text)
            if again is not None:
                self._draft = answer, finished
                part.response = ResponseBuffer()
                self._running[again.id] = part
                yield again
                return
        complete = finished.reason is FinishReason.STOP and finished.error is None and not is_empty(answer)
        if self._draft is not None and not (complete and plan.is_closer_in_length(answer.text, self._draft[0].text)):
            answer, finished = self._draft
        yield Delta(answer.text, self.item)
        yield from self._finish_summary(answer, finished)

    def _finish_summary(self, answer: ResponseBuffer, finished: Finished) -> Iterator[JobStep]:
        """Yield the summary. Raises ``EmptyAnswer``."""
        if is_empty(answer):
            raise EmptyAnswer(self.name, limit=finished.limit)
        cut, missing = is_truncated(finished, self._plan.options), tuple(self._missing_parts)
        if cut and missing:
            yield self._warn("the summary was cut at a limit")
        warning = length_warning(answer.text, self._plan.words)
        if warning:
            yield from self._warn_of_length(warning)
        limited = any(part.reason == "cut" for part in missing)
        yield Result(
            self.item,
            self.name,
            answer.text,
            fields={
                "method": WRITTEN_METHOD,
                "coverage": self._coverage,
                "missing": [_part_as_object(part) for part in missing],
            },
            model=self._plan.backend.info().model,
            prompt=self._plan.prompt(0, is_last=True).name,
            finish_reason=FinishReason.LENGTH if limited else finished.reason,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=(*self._warnings, *unrestored_warnings(self._unrestored)),
            cut=cut or bool(missing or self._unrestored),
            incomplete=PartsMissing(self.name, missing)
            if missing
            else truncation_error(finished)
            if cut
            else ValuesNotRestored(self.name, tuple(self._unrestored))
            if self._unrestored
            else None,
        )

    def _warn(self, text: str) -> Notice:
        self._warnings.append(text)
        return Notice(text, self.item)

    def _warn_of_length(self, text: str) -> Iterator[Notice]:
        """Warn that the length was missed; among records, which are many, only in the result."""
        notice = self._warn(text)
        if self._plan.row is None:
            yield notice


def _part_as_object(part: MissingPart) -> dict[str, object]:
    """Return the fields, ``file`` only if there are several documents."""
    return {name: value for name, value in asdict(part).items() if value != ""}
