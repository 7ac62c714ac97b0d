"""summarize: a document of any length becomes a summary.

What fits the context is one request. A longer text is cut at paragraph borders; the summaries of its parts are joined
and become the text of the next stage, until it fits one request. All parts of all documents are in flight together. A
part whose answer is empty or cut is asked for again; what is then still missing is told with its lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from llmcli.backends.base import Backend
from llmcli.documents.reading import Document
from llmcli.errors import EmptyInput
from llmcli.incomplete import AnswerCut, EmptyAnswer, MissingPart, PartsMissing
from llmcli.tasks.base import (
    EMPTY_ANSWER,
    Answer,
    Options,
    Tally,
    ended,
    is_cut,
    is_empty,
    make_request,
    raise_failure,
)
from llmcli.tasks.fitting import Room
from llmcli.tasks.summary_parts import Part, StageText, line_range
from llmcli.tasks.together import Step, together
from llmcli.templates import Library, Prompt
from llmcli.types import (
    Delta,
    Event,
    Finished,
    FinishReason,
    ItemFailed,
    Notice,
    ReasoningPiece,
    Request,
    Result,
    TaskEvent,
    TextPiece,
)

PROMPT, MERGE = "summarize", "summarize.merge"
MERGING = "merging"
"""The step in which summaries are summarized."""
PART_STYLE = "paragraph"
MAX_TOKENS = 512  # of a summary whose length nobody chose
PART_WORDS = 50  # fewest words for a part's summary when the user chose a length
SHRINK = 0.8  # a stage whose text is longer than this share of the one before has stalled
STALLS = 4  # stalled stages, each with half the answer length of the last, until the document is given up


def tokens_for(words: int) -> int:
    """Return room for so many words: up to 3 tokens a word (long words, small vocabularies), and a margin."""
    return 3 * words + 32


@dataclass(frozen=True)
class _Plan:
    """What holds for all documents of a run; stage 0 summarizes the document, the later ones merge summaries."""

    backend: Backend
    first: Prompt
    merge: Prompt
    options: Options
    words: int | None
    style: str

    @property
    def context(self) -> int:
        return self.backend.info().context

    def prompt(self, stage: int) -> Prompt:
        return self.merge if stage else self.first

    def limit(self, stage: int, words: int | None) -> int:
        return tokens_for(words) if words is not None else self.prompt(stage).options.max_tokens or MAX_TOKENS

    def part_words(self, parts: int) -> int | None:
        """Together the parts may say twice what the summary may, so that merging has something to choose from."""
        return None if self.words is None else max(PART_WORDS, math.ceil(2 * self.words / parts))

    def request(self, request_id: str, stage: int, text: str, limit: int, *, part: int, parts: int) -> Request:
        """Return the request for a whole text, or for one of several parts, whose summaries will be merged."""
        words = self.words if parts == 1 else self.part_words(parts)
        values: dict[str, object] = {
            "text": text,
            "words": "" if words is None else str(words),
            "style": self.style if parts == 1 else PART_STYLE,
        }
        if stage == 0:
            values |= {"part": part, "parts": parts}
        prompt = self.prompt(stage)
        messages = prompt.render(values)
        return make_request(request_id, messages, prompt, self.options, max_tokens=limit, gathered=parts > 1)


class _Summary:
    """One document: the stage it is in and the answers that are still to come."""

    def __init__(self, plan: _Plan, item: int, document: Document) -> None:
        self.item = item
        self.name = document.name
        self._plan = plan
        self._tally = Tally()
        self._warnings: list[str] = []
        self._missing: list[MissingPart] = []
        self._document = document.text
        self._source = StageText(document.text)
        self._stage = 0
        self._size: int | None = None  # characters of the last stage's text
        self._stalls = 0
        self._parts: list[Part] = []  # of this stage, in the order of the text
        self._running: dict[str, Part] = {}
        self._last = False  # whether this stage's answer is the summary
        self._held: str | None = ""  # of the summary, until something visible comes

    @property
    def step(self) -> str:
        """What the requests of this stage are for."""
        return MERGING if self._stage else ""

    def start(self) -> Iterator[Step]:
        """Begin; raises ``EmptyInput`` for a blank document."""
        if not self._document.strip():
            raise EmptyInput(self.name)
        yield from self._requests()

    def take(self, event: Event) -> Iterator[Step]:
        """Go on after an event. Raises the failure of a request, and ``EmptyAnswer`` where nothing came of all tries."""
        part = self._running[event.id]
        part.answer.take(event)
        if isinstance(event, TextPiece | ReasoningPiece) and self._last:
            yield from self._show(event)
        if not isinstance(event, Finished):
            return
        del self._running[event.id]
        self._tally.add(event)
        raise_failure(event)
        final = self._last and event.reason is FinishReason.LENGTH  # what was shown stays, and the user's limit holds
        again = None if final else part.end_try(self._plan.options)
        if again is not None:
            self._running[again.id] = part
            self._held = ""
            yield again
            return
        if self._last:
            yield from self._result(part.answer, event)
            return
        yield from self._judge_part(part)
        if all(other.done for other in self._parts):
            self._source = StageText.joined(self._parts)
            if not self._source.text:
                raise EmptyAnswer(self.name)
            self._stage += 1
            yield from self._requests()

    def _show(self, event: TextPiece | ReasoningPiece) -> Iterator[Delta]:
        """Yield a piece of the summary; blanks at its beginning wait, since an empty answer is asked for again."""
        if isinstance(event, ReasoningPiece):
            yield Delta(event.text, self.item, reasoning=True)
        elif self._held is None:
            yield Delta(event.text, self.item)
        else:
            self._held += event.text
            if self._held.strip():
                yield Delta(self._held, self.item)
                self._held = None

    def _requests(self) -> Iterator[Request]:
        """Yield the requests of this stage: one when its text fits, else one a part.

        Raises ``ContextOverflow`` when the instructions leave no room for text, or when the summaries do not get
        shorter than what they summarize.
        """
        plan, stage, text = self._plan, self._stage, self._source.text
        limit = of_part = plan.options.max_tokens or plan.limit(stage, plan.words)
        room = self._room(limit, parts=1)
        (size,) = room.count([text])
        pieces = [text]
        if not room.holds(size):
            self._check_shrinking(room, size)
            of_part = max(1, min(plan.limit(stage, plan.part_words(2)), plan.context // 4) >> self._stalls)
            pieces = self._room(of_part, parts=2).split(text)
        placed = self._source.placed(pieces)
        count = len(placed)
        if count > 1:
            limit = of_part
        self._size = len(text)
        self._last = count == 1
        self._parts = [
            Part(*place, plan.request(f"{self.item}.{stage}.{part}", stage, piece, limit, part=part, parts=count))
            for part, (piece, place) in enumerate(placed, 1)
        ]
        self._running = {part.request.id: part for part in self._parts}
        self._held = ""
        yield from [part.request for part in self._parts]

    def _room(self, limit: int, *, parts: int) -> Room:
        plan, stage = self._plan, self._stage
        reserve = min(limit, plan.context // 4)
        return Room(
            plan.backend,
            lambda text: plan.request("count", stage, text, limit, part=parts, parts=parts),
            lambda _: reserve,
            subject=self.name,
        )

    def _check_shrinking(self, room: Room, size: int) -> None:
        if self._size is not None and len(self._source.text) > SHRINK * self._size:
            self._stalls += 1
            if self._stalls > STALLS:
                raise room.overflow(size)

    def _judge_part(self, part: Part) -> Iterator[Notice]:
        """Note a part whose last try is empty or cut as well."""
        if part.problem is None:
            return
        number, count = self._parts.index(part) + 1, len(self._parts)
        first, last = line_range(self._document, (part.start, part.end))
        self._missing.append(MissingPart(first, last, number, count, self._stage, part.problem))
        where = f"lines {first} to {last}, part {number} of {count}"
        where += f" of stage {self._stage + 1}" if self._stage else ""
        tokens = ended(part.answer).usage.completion_tokens
        what = EMPTY_ANSWER if part.problem == "empty" else f"its summary was cut at {tokens} tokens"
        yield self._warn(f"{where}: {what}")

    def _result(self, answer: Answer, finished: Finished) -> Iterator[Step]:
        """Yield the summary. Raises ``EmptyAnswer``."""
        if is_empty(answer):
            raise EmptyAnswer(self.name, limit=finished.limit)
        cut, missing = is_cut(finished, self._plan.options), tuple(self._missing)
        if cut and missing:
            yield self._warn("the summary was cut at a limit")
        limited = any(part.reason == "cut" for part in missing)
        yield Result(
            self.item,
            self.name,
            answer.text,
            fields={"missing": [asdict(part) for part in missing]},
            model=self._plan.backend.info().model,
            prompt=self._plan.first.name,
            finish_reason=FinishReason.LENGTH if limited else finished.reason,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=tuple(self._warnings),
            cut=cut or bool(missing),
            incomplete=PartsMissing(self.name, missing)
            if missing
            else AnswerCut(limit=finished.limit)
            if cut
            else None,
        )

    def _warn(self, text: str) -> Notice:
        self._warnings.append(text)
        return Notice(text, self.item)


def summarize(
    backend: Backend,
    prompts: Library,
    documents: Iterable[Document | ItemFailed],
    options: Options,
    *,
    words: int | None = None,
    style: str = "paragraph",
) -> Iterator[TaskEvent]:
    """Summarize each document: per item its Deltas (those of several items may alternate), then Result or ItemFailed.

    ``words`` is the wanted length, ``style`` "paragraph", "bullets" or "headline". ``options.max_tokens`` limits the
    summary, not those of the parts of a long text. An ``ItemFailed`` among the documents (an unreadable file) is passed
    on in its place. A blank document fails with ``EmptyInput``, one that cannot be made to fit with
    ``ContextOverflow``, one about which the model says nothing with ``EmptyAnswer``; the others go on. A Result's field
    ``missing`` lists the ``MissingPart``s of the document that the summary lacks. ``Progress`` counts "parts", and the
    tokens that were read of all of them.
    """
    plan = _Plan(backend, prompts.get(PROMPT), prompts.get(MERGE), options, words, style)
    yield from together(backend, documents, lambda item, document: _Summary(plan, item, document), "parts")
