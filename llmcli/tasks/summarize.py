"""summarize: a document of any length becomes a summary.

A text that fits the context is one request. A longer text is cut at paragraph borders. The summaries of its parts are
joined into the text of the next stage, until that fits one request. The parts of all documents run concurrently. A part
with an empty or cut answer is requested again; the result lists the lines of parts that are still missing. Key sentences
are chosen without an answer: ``summarization/``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import EmptyInput
from llmcli.frozen_dataclass import asdict, frozen
from llmcli.incomplete_results import AnswerTruncated, EmptyAnswer, MissingPart, PartsMissing, ValuesNotRestored
from llmcli.prompts import Prompt, PromptLibrary
from llmcli.tasks.execution.context_budget import ContextBudget
from llmcli.tasks.execution.document_jobs import DocumentJob, JobStep, run_document_jobs
from llmcli.tasks.execution.response_buffer import (
    EMPTY_ANSWER_MESSAGE,
    ResponseBuffer,
    UsageTally,
    is_empty,
    is_truncated,
    raise_request_error,
    require_finished,
    unrestored_warnings,
)
from llmcli.tasks.execution.task_requests import GenerationOptions, make_request
from llmcli.tasks.summarization.key_sentences_job import KeySentencesJob
from llmcli.tasks.summarization.summary_length import length_warning
from llmcli.tasks.summarization.summary_options import (
    HEADLINE,
    KEY_SENTENCES,
    PARAGRAPH,
    WRITTEN_METHOD,
    SummaryOptions,
)
from llmcli.tasks.summary_parts import StageText, SummaryPart, line_range
from llmcli.types import (
    Delta,
    Event,
    Finished,
    FinishReason,
    ItemFailed,
    Notice,
    ReasoningDelta,
    Request,
    Result,
    TaskEvent,
    TextDelta,
)

PROMPT, MERGE_PROMPT = "summarize", "summarize.merge"
MERGE_STEP = "merging"
"""The step that summarizes summaries."""
MAX_TOKENS = 512  # for a summary without a length from the user
MIN_PART_WORDS = 50  # the fewest words for the summary of a part if the user set a length
MAX_SHRINK_SHARE = 0.8  # a stage has stalled if its text is longer than this share of the text before it
MAX_STALLS = 4  # after this many stalled stages, each with half the answer length of the last, the document fails


def max_summary_tokens(words: int) -> int:
    """Return the token limit for that many words: up to 3 tokens a word (long words, small vocabularies), plus 32."""
    return 3 * words + 32


@frozen
class _SummaryPlan:
    """The settings for all documents of a run; stage 0 summarizes the document, later stages merge summaries."""

    backend: Backend
    summary_prompt: Prompt
    merge_prompt: Prompt
    options: GenerationOptions
    wanted: SummaryOptions
    style: str
    row: object = None
    """The columns of a record, None for a document."""

    @property
    def context(self) -> int:
        return self.backend.info().context

    def prompt(self, stage: int) -> Prompt:
        return self.merge_prompt if stage else self.summary_prompt

    def max_tokens(self, stage: int, words: int | None) -> int:
        return max_summary_tokens(words) if words is not None else self.prompt(stage).options.max_tokens or MAX_TOKENS

    def part_words(self, parts: int) -> int | None:
        """The parts together may be twice as long as the summary, so that merging can choose among them."""
        words = self.wanted.words
        return None if words is None else max(MIN_PART_WORDS, math.ceil(2 * words / parts))

    def request(self, request_id: str, stage: int, text: str, limit: int, *, part: int, parts: int) -> Request:
        """Return the request for a whole text, or for one of several parts whose summaries will be merged."""
        words = self.wanted.words if parts == 1 else self.part_words(parts)
        values: dict[str, object] = {
            "text": text,
            "words": "" if words is None else str(words),
            "style": self.style if parts == 1 else PARAGRAPH,
            "focus": self.wanted.focus,
            "audience": self.wanted.audience,
            "language": self.wanted.language,
        }
        if stage == 0:
            values |= {"part": part, "parts": parts} | ({} if self.row is None else {"row": self.row})
        prompt = self.prompt(stage)
        messages = prompt.render(values)
        return make_request(
            request_id, messages, prompt, self.options, max_tokens=limit, gathered=parts > 1 or self.row is not None
        )


class _SummaryJob:
    """The job of one document: its current stage and its pending answers."""

    def __init__(self, plan: _SummaryPlan, item: int, document: Document) -> None:
        self.item = item
        self.name = document.name
        self._plan = plan
        self._tally = UsageTally()
        self._warnings: list[str] = []
        self._unrestored: list[str] = []
        self._missing_parts: list[MissingPart] = []
        self._document = document.text
        self._source = StageText(document.text)
        self._stage = 0
        self._previous_chars: int | None = None  # characters of the text of the last stage
        self._stalls = 0
        self._parts: list[SummaryPart] = []  # parts of this stage, in the order of the text
        self._running: dict[str, SummaryPart] = {}
        self._is_last_stage = False  # whether the answer of this stage is the final summary
        self._held_text: str | None = ""  # blanks of the summary before its first visible character

    @property
    def step(self) -> str:
        """The step of this stage's requests."""
        return MERGE_STEP if self._stage else ""

    def start(self) -> Iterator[JobStep]:
        """Begin; raises ``EmptyInput`` for a blank document."""
        if not self._document.strip():
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
            yield from self._finish_summary(part.response, event)
            return
        yield from self._report_bad_part(part)
        if all(other.done for other in self._parts):
            self._source = StageText.join_summaries(self._parts)
            if not self._source.text:
                raise EmptyAnswer(self.name)
            self._stage += 1
            yield from self._start_stage()

    def _stream_summary(self, event: TextDelta | ReasoningDelta) -> Iterator[Delta]:
        """Yield a piece of the summary; leading blanks are held back, since an empty answer is retried."""
        if isinstance(event, ReasoningDelta):
            yield Delta(event.text, self.item, reasoning=True)
        elif self._held_text is None:
            yield Delta(event.text, self.item)
        else:
            self._held_text += event.text
            if self._held_text.strip():
                yield Delta(self._held_text, self.item)
                self._held_text = None

    def _start_stage(self) -> Iterator[Request]:
        """Yield the requests of this stage: one if its text fits, else one a part.

        Raises ``ContextOverflow`` when the instructions leave no room for text, or when the summaries do not get
        shorter than their texts.
        """
        plan, stage, text = self._plan, self._stage, self._source.text
        limit = of_part = plan.options.max_tokens or plan.max_tokens(stage, plan.wanted.words)
        room = self._context_budget(limit, parts=1)
        pieces = [text]
        if not room.fits(text):
            self._check_shrinking(room)
            of_part = max(1, min(plan.max_tokens(stage, plan.part_words(2)), plan.context // 4) >> self._stalls)
            pieces = self._context_budget(of_part, parts=2).split_to_fit(text)
        placed = self._source.locate_pieces(pieces)
        count = len(placed)
        if count > 1:
            limit = of_part
        self._previous_chars = len(text)
        self._is_last_stage = count == 1
        self._parts = [
            SummaryPart(
                *offsets, plan.request(f"{self.item}.{stage}.{part}", stage, piece, limit, part=part, parts=count)
            )
            for part, (piece, offsets) in enumerate(placed, 1)
        ]
        self._running = {part.request.id: part for part in self._parts}
        self._held_text = ""
        yield from [part.request for part in self._parts]

    def _context_budget(self, limit: int, *, parts: int) -> ContextBudget:
        plan, stage = self._plan, self._stage
        reserve = min(limit, plan.context // 4)
        return ContextBudget(
            plan.backend,
            lambda text: plan.request("count", stage, text, limit, part=parts, parts=parts),
            lambda _: reserve,
            subject=self.name,
        )

    def _check_shrinking(self, room: ContextBudget) -> None:
        if self._previous_chars is not None and len(self._source.text) > MAX_SHRINK_SHARE * self._previous_chars:
            self._stalls += 1
            if self._stalls > MAX_STALLS:
                raise room.overflow_error(room.count_tokens([self._source.text])[0])

    def _report_bad_part(self, part: SummaryPart) -> Iterator[Notice]:
        """Record a part whose last attempt is empty or cut as well."""
        if part.problem is None:
            return
        number, count = self._parts.index(part) + 1, len(self._parts)
        first, last = line_range(self._document, (part.start, part.end))
        self._missing_parts.append(MissingPart(first, last, number, count, self._stage, part.problem))
        where = f"lines {first} to {last}, part {number} of {count}"
        where += f" of stage {self._stage + 1}" if self._stage else ""
        tokens = require_finished(part.response).usage.completion_tokens
        what = EMPTY_ANSWER_MESSAGE if part.problem == "empty" else f"its summary was cut at {tokens} tokens"
        yield self._warn(f"{where}: {what}")

    def _finish_summary(self, answer: ResponseBuffer, finished: Finished) -> Iterator[JobStep]:
        """Yield the summary. Raises ``EmptyAnswer``."""
        if is_empty(answer):
            raise EmptyAnswer(self.name, limit=finished.limit)
        cut, missing = is_truncated(finished, self._plan.options), tuple(self._missing_parts)
        if cut and missing:
            yield self._warn("the summary was cut at a limit")
        warning = "" if self._plan.style == HEADLINE else length_warning(answer.text, self._plan.wanted.words)
        if warning:
            yield from self._warn_of_length(warning)
        limited = any(part.reason == "cut" for part in missing)
        yield Result(
            self.item,
            self.name,
            answer.text,
            fields={"method": WRITTEN_METHOD, "missing": [asdict(part) for part in missing]},
            model=self._plan.backend.info().model,
            prompt=self._plan.summary_prompt.name,
            finish_reason=FinishReason.LENGTH if limited else finished.reason,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=(*self._warnings, *unrestored_warnings(self._unrestored)),
            cut=cut or bool(missing or self._unrestored),
            incomplete=PartsMissing(self.name, missing)
            if missing
            else AnswerTruncated(limit=finished.limit)
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


def make_summary_job(
    backend: Backend,
    prompts: PromptLibrary,
    document: Document,
    options: GenerationOptions,
    wanted: SummaryOptions,
    *,
    item: int,
    row: object = None,
) -> DocumentJob:
    """Return the job of a document, or of a record's text, whose columns are ``row``; the rest is as in ``summarize``."""
    style = wanted.style_for(backend.info())
    if style == KEY_SENTENCES:
        return KeySentencesJob(backend, item, document, options, wanted, is_record=row is not None)
    plan = _SummaryPlan(backend, prompts.get(PROMPT), prompts.get(MERGE_PROMPT), options, wanted, style, row)
    return _SummaryJob(plan, item, document)


def summarize(
    backend: Backend,
    prompts: PromptLibrary,
    documents: Iterable[Document | ItemFailed],
    options: GenerationOptions,
    wanted: SummaryOptions | None = None,
) -> Iterator[TaskEvent]:
    """Summarize each document: per item its Deltas (items may alternate), then Result or ItemFailed.

    ``options.max_tokens`` limits the summary, not the summaries of parts of a long text. An ``ItemFailed`` among the
    documents (an unreadable file) is passed on in its position. A blank document fails with ``EmptyInput``, one that
    cannot be made to fit with ``ContextOverflow``, an empty answer with ``EmptyAnswer``, key sentences with
    ``Unsupported`` where the backend reports no hidden states; the others go on. A Result has the fields ``method``
    ("written" or "key-sentences"), ``missing``, the ``MissingPart``s of the document that the summary lacks, and with
    key sentences ``sentences`` (each with ``text``, ``start``, ``end``, ``first_line``, ``last_line`` and ``score``). A
    summary whose length is not about ``wanted.words`` has a warning. ``Progress`` counts "parts", and the prompt tokens
    evaluated for all of them.
    """
    chosen = wanted or SummaryOptions()
    yield from run_document_jobs(
        backend,
        documents,
        lambda item, document: make_summary_job(backend, prompts, document, options, chosen, item=item),
        "parts",
    )
