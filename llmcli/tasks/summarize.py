"""summarize: a document of any length becomes a summary.

What fits the context is one request. A longer text is cut at paragraph borders; the summaries of its parts are joined
and become the text of the next stage, until it fits one request. All parts of all documents are in flight together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llmcli.backends.base import Backend
from llmcli.documents.reading import Document
from llmcli.errors import EmptyInput
from llmcli.tasks.base import EMPTY_ANSWER, Answer, Options, Tally, is_cut, make_request, raise_failure
from llmcli.tasks.fitting import Room
from llmcli.tasks.together import Step, together
from llmcli.templates import Library, Prompt
from llmcli.types import (
    Delta,
    Event,
    Finished,
    FinishReason,
    ItemFailed,
    Notice,
    Priority,
    ReasoningPiece,
    Request,
    Result,
    TaskEvent,
    TextPiece,
)

PROMPT, MERGE = "summarize", "summarize.merge"
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
        priority = Priority.BULK if parts > 1 else Priority.INTERACTIVE
        messages = prompt.render(values)
        return make_request(request_id, messages, prompt, self.options, max_tokens=limit, priority=priority)


class _Summary:
    """One document: the stage it is in and the answers that are still to come."""

    def __init__(self, plan: _Plan, item: int, document: Document) -> None:
        self.item = item
        self.name = document.name
        self._plan = plan
        self._tally = Tally()
        self._warnings: list[str] = []
        self._text = document.text
        self._stage = 0
        self._size: int | None = None  # characters of the last stage's text
        self._stalls = 0
        self._answers: dict[str, Answer] = {}  # of this stage, in the order of the text
        self._last = False  # whether this stage's answer is the summary

    def start(self) -> Iterator[Step]:
        """Begin; raises ``EmptyInput`` for a blank document."""
        if not self._text.strip():
            raise EmptyInput(self.name)
        yield from self._requests()

    def take(self, event: Event) -> Iterator[Step]:
        """Go on after an event."""
        answer = self._answers[event.id]
        answer.take(event)
        if isinstance(event, TextPiece | ReasoningPiece) and self._last:
            yield Delta(event.text, self.item, reasoning=isinstance(event, ReasoningPiece))
        if not isinstance(event, Finished):
            return
        self._tally.add(event)
        raise_failure(event)
        if self._last:
            yield from self._result(answer.text, event)
            return
        yield from self._judge_part(answer.text, event)
        if all(other.finished is not None for other in self._answers.values()):
            summaries = (other.text.strip() for other in self._answers.values())
            self._text = "\n\n".join(summary for summary in summaries if summary)
            self._stage += 1
            yield from self._requests()

    def _requests(self) -> Iterator[Request]:
        """Yield the requests of this stage: one when its text fits, else one a part.

        Raises ``ContextOverflow`` when the instructions leave no room for text, or when the summaries do not get
        shorter than what they summarize.
        """
        plan, stage = self._plan, self._stage
        limit = plan.options.max_tokens or plan.limit(stage, plan.words)
        room = self._room(limit, parts=1)
        (size,) = room.count([self._text])
        texts = [self._text]
        if not room.holds(size):
            self._check_shrinking(room, size)
            limit = max(1, min(plan.limit(stage, plan.part_words(2)), plan.context // 4) >> self._stalls)
            texts = [text for text in self._room(limit, parts=2).split(self._text) if text.strip()]
        self._size = len(self._text)
        self._last = len(texts) == 1
        requests = [
            plan.request(f"{self.item}.{stage}.{part}", stage, text, limit, part=part, parts=len(texts))
            for part, text in enumerate(texts, 1)
        ]
        self._answers = {request.id: Answer() for request in requests}
        yield from requests

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
        if self._size is not None and len(self._text) > SHRINK * self._size:
            self._stalls += 1
            if self._stalls > STALLS:
                raise room.overflow(size)

    def _judge_part(self, text: str, finished: Finished) -> Iterator[Notice]:
        part = f"part {list(self._answers).index(finished.id) + 1} of {len(self._answers)}"
        if not text.strip():
            yield self._warn(f"{part}: {EMPTY_ANSWER}")
        elif finished.reason is FinishReason.LENGTH:
            yield self._warn(f"{part}: its summary was cut at {finished.usage.completion_tokens} tokens")

    def _result(self, text: str, finished: Finished) -> Iterator[Step]:
        if not text.strip():
            yield self._warn(EMPTY_ANSWER)
        yield Result(
            self.item,
            self.name,
            text,
            model=self._plan.backend.info().model,
            prompt=self._plan.first.name,
            finish_reason=finished.reason,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=tuple(self._warnings),
            cut=is_cut(finished, self._plan.options),
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
    ``ContextOverflow``; the others go on. ``Progress`` counts "parts".
    """
    plan = _Plan(backend, prompts.get(PROMPT), prompts.get(MERGE), options, words, style)
    yield from together(backend, documents, lambda item, document: _Summary(plan, item, document), "parts")
