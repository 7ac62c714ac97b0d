"""The core of translation: segments in, segments out. Of documents and formats it knows nothing.

A segment is a text of visible characters at both ends. Each is one request; an answer that cannot be a translation
(empty, cut, or far too long) is tried once more, then the segment keeps its source text and says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from llmcli.backends.base import Backend
from llmcli.tasks.base import EMPTY_ANSWER, Answer, Options, Tally, is_cut, make_request, raise_failure
from llmcli.tasks.fitting import Room
from llmcli.tasks.languages import Language
from llmcli.tasks.together import Cancel
from llmcli.templates import Prompt
from llmcli.types import Event, Finished, FinishReason, Request

WARMER = 0.3  # added to the temperature of the second try, since a greedy one would answer the same
TRIES = 2
RUNAWAY = "the answer was far longer than a translation"
CUT = "the answer did not come to its end"


def longest(text: str) -> int:
    """Return the characters that a translation of ``text`` may have: scripts differ by a factor of 4 at most."""
    return 4 * len(text) + 200


def tokens_for(tokens: int) -> int:
    """Return room for the translation of so many tokens: other languages may need 3 times as many."""
    return 3 * tokens + 64


@dataclass(frozen=True)
class Translator:
    """What holds for all segments of a run. ``source`` None: not known."""

    backend: Backend
    prompt: Prompt
    options: Options
    target: Language
    source: Language | None = None

    def request(self, request_id: str, text: str, limit: int, attempt: int = 1) -> Request:
        """Return the request for a segment; later attempts are warmer and may be longer."""
        source = self.source.name if self.source else ""
        values = {"text": text, "source_language": source, "target_language": self.target.name}
        messages = self.prompt.render(values)
        limit = self.options.max_tokens or limit * attempt
        request = make_request(request_id, messages, self.prompt, self.options, max_tokens=limit)
        temperature = request.sampling.temperature + WARMER * (attempt - 1)
        return replace(request, sampling=replace(request.sampling, temperature=temperature))

    def room(self, subject: str) -> Room:
        """Return how much text fits one request; ``subject`` names the document in errors."""
        return Room(self.backend, lambda text: self.request("count", text, 1), tokens_for, subject=subject)


@dataclass(slots=True)
class Segment:
    """A text on its way: ``translation`` is set when it is done, to the source text where there is a ``problem``."""

    text: str
    tokens: int
    attempt: int = 0
    answer: Answer = field(default_factory=Answer)
    stopped: bool = False
    translation: str | None = None
    problem: str = ""


class Segments:
    """The segments of one document; their requests' ids begin with ``prefix``. ``tally`` counts the calls."""

    def __init__(self, translator: Translator, prefix: str, texts: Sequence[str], tokens: Sequence[int]) -> None:
        """``tokens``: those of each text, which must fit one request (``Translator.room``)."""
        self.all = [Segment(text, count) for text, count in zip(texts, tokens, strict=True)]
        self.tally = Tally()
        self.limited = False  # whether the user's own limit ended an answer
        self._translator = translator
        self._prefix = prefix
        self._running: dict[str, Segment] = {}

    def start(self) -> Iterator[Request]:
        """Yield the first request of each segment."""
        for number in range(len(self.all)):
            yield self._next_try(number)

    def take(self, event: Event) -> Iterator[Request | Cancel]:
        """Go on after an event; raises the failure of a request."""
        segment = self._running[event.id]
        segment.answer.take(event)
        if isinstance(event, Finished):
            del self._running[event.id]
            self.tally.add(event)
            yield from self._judge(segment, event)
        elif segment.answer.size > longest(segment.text) and not segment.stopped:
            segment.stopped = True
            yield Cancel(event.id)

    def _judge(self, segment: Segment, finished: Finished) -> Iterator[Request]:
        if not segment.stopped:
            raise_failure(finished)
        problem = self._problem(segment, finished)
        if problem and segment.attempt < TRIES:
            yield self._next_try(self._number(finished.id))
            return
        segment.problem = problem
        segment.translation = segment.text if problem else segment.answer.text.strip()
        self.limited = self.limited or (not problem and finished.reason is FinishReason.LENGTH)

    def _problem(self, segment: Segment, finished: Finished) -> str:
        """Return why an answer cannot be a translation, "" when it can."""
        if segment.answer.size > longest(segment.text):
            return RUNAWAY
        if is_cut(finished, self._translator.options):
            return CUT
        return "" if segment.answer.text.strip() else EMPTY_ANSWER

    def _next_try(self, number: int) -> Request:
        segment = self.all[number]
        segment.attempt += 1
        segment.answer, segment.stopped = Answer(), False
        request_id = f"{self._prefix}.{number}.{segment.attempt}"
        self._running[request_id] = segment
        return self._translator.request(request_id, segment.text, tokens_for(segment.tokens), segment.attempt)

    @staticmethod
    def _number(request_id: str) -> int:
        return int(request_id.split(".")[-2])
