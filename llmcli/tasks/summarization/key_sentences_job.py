"""summarize --style key-sentences: the sentences of a document that carry it, chosen without generating anything.

Each sentence is a request of its own for its mean hidden state, so that sentences fill the batches of the engine and
none pays for attention to a long text before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.segments import LineNumbers
from llmcli.errors import EmptyInput, Unsupported
from llmcli.tasks.execution.document_jobs import JobStep
from llmcli.tasks.execution.response_buffer import UsageTally, raise_request_error
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.summarization.sentence_candidates import SentenceCandidate, find_candidates
from llmcli.tasks.summarization.sentence_ranking import choose_sentences
from llmcli.tasks.summarization.summary_length import length_warning
from llmcli.tasks.summarization.summary_options import KEY_SENTENCES, SummaryOptions
from llmcli.types import Event, Finished, HiddenStates, Notice, Priority, Request, Result

MAX_WORDS, MIN_WORDS, WORDS_SHARE = 100, 20, 1 / 3
"""The length without ``--words``: this share of the text, within these limits."""
MAX_PENDING = 512
"""Sentences that are requested at once: more than a batch holds, few enough that a long text is not kept twice."""
_MAX_READ_CHARS = 2000
_FOCUS = -1
"""The number of the focus among the sentences."""


class KeySentencesJob:
    """The job of one document: the hidden states of its sentences, some hundred at a time, then the choice.

    ``is_record``: the document is one of many records, whose warnings are in their results only.
    """

    step = ""

    def __init__(
        self,
        backend: Backend,
        item: int,
        document: Document,
        options: GenerationOptions,
        wanted: SummaryOptions,
        *,
        is_record: bool = False,
    ) -> None:
        self.item = item
        self.name = document.name
        self._backend = backend
        self._options = options
        self._wanted = wanted
        self._is_record = is_record
        self._text = document.text
        self._read_chars = _max_read_chars(backend.info().context)
        self._unsent = enumerate(find_candidates(document.text))
        self._sentences: list[SentenceCandidate] = []
        self._vectors: dict[int, Any] = {}
        self._pending: dict[str, tuple[int, int]] = {}  # request id -> sentence, characters of it
        self._tally = UsageTally()

    def start(self) -> Iterator[JobStep]:
        """Begin; raises ``EmptyInput`` for a document without a letter or digit."""
        yield from self._send(MAX_PENDING)
        if not self._sentences:
            raise EmptyInput(self.name)
        if self._wanted.focus:
            yield from self._requests(_FOCUS, self._wanted.focus)

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the next requests, and the result after the last event.

        Raises the failure of a request, and ``Unsupported`` if the backend reports no hidden states.
        """
        if isinstance(event, HiddenStates):
            self._store(*self._pending[event.id], event.mean)
        if not isinstance(event, Finished):
            return
        raise_request_error(event)
        self._tally.add(event)
        del self._pending[event.id]
        yield from self._send(1)
        if self._pending:
            return
        if len(self._vectors) < len(self._sentences) + bool(self._wanted.focus):
            raise Unsupported("hidden states", detail="the server reports none")
        yield from self._finish()

    def _store(self, sentence: int, characters: int, mean: bytes) -> None:
        """Keep the vector of a sentence in 16 bits, since a long text has very many; the mean of those of its pieces."""
        import numpy as np

        vector = np.frombuffer(mean, dtype="<f4")
        if characters < self._length(sentence):
            vector = vector * (characters / self._length(sentence))
            before = self._vectors.get(sentence)
            vector = vector if before is None else vector + before
        self._vectors[sentence] = vector.astype(np.float16)

    def _length(self, sentence: int) -> int:
        if sentence == _FOCUS:
            return len(self._wanted.focus)
        return self._sentences[sentence].end - self._sentences[sentence].start

    def _send(self, count: int) -> Iterator[Request]:
        for number, sentence in islice(self._unsent, count):
            self._sentences.append(sentence)
            yield from self._requests(number, self._text[sentence.start : sentence.end])

    def _requests(self, sentence: int, text: str) -> Iterator[Request]:
        """Yield a request for each piece of a sentence: most have only one."""
        for first in range(0, len(text), self._read_chars):
            piece = text[first : first + self._read_chars]
            name = f"{self.item}.{sentence}.{first}"
            self._pending[name] = sentence, len(piece)
            yield _state_request(name, piece, self._options)

    def _finish(self) -> Iterator[JobStep]:
        """Choose the sentences and yield the result."""
        import numpy as np

        vectors = np.stack([self._vectors.pop(number) for number in range(len(self._sentences))]).astype(np.float32)
        words = self._wanted.words or self._default_words()
        chosen = choose_sentences(self._sentences, vectors, words, self._vectors.pop(_FOCUS, None))
        text = "\n".join(self._one_line(self._sentences[number]) for number, _ in chosen)
        warning = length_warning(text, self._wanted.words)
        if warning and not self._is_record:
            yield Notice(warning, self.item)
        lines = LineNumbers(self._text)
        yield Result(
            self.item,
            self.name,
            text,
            {
                "method": KEY_SENTENCES,
                "sentences": [self._describe(self._sentences[number], score, lines) for number, score in chosen],
                "coverage": 1.0,
                "missing": [],
            },
            model=self._backend.info().model,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=(warning,) if warning else (),
        )

    def _default_words(self) -> int:
        total = sum(sentence.words for sentence in self._sentences if sentence.eligible)
        return round(min(MAX_WORDS, max(MIN_WORDS, WORDS_SHARE * total)))

    def _one_line(self, sentence: SentenceCandidate) -> str:
        """Return a sentence without the line breaks inside it."""
        return " ".join(self._text[sentence.start : sentence.end].split())

    def _describe(self, sentence: SentenceCandidate, score: float, lines: LineNumbers) -> dict[str, Any]:
        """Return what ``--json`` shows of a sentence: exactly its text, and where that stands."""
        return {
            "text": self._text[sentence.start : sentence.end],
            "start": sentence.start,
            "end": sentence.end,
            "first_line": lines.line_at(sentence.start),
            "last_line": lines.line_at(sentence.end - 1),
            "score": score,
        }


def sentence_requests(text: str, context: int, options: GenerationOptions) -> Iterator[Request]:
    """Yield the requests for all sentences of a text."""
    size = _max_read_chars(context)
    for sentence in find_candidates(text):
        for first in range(sentence.start, sentence.end, size):
            yield _state_request("count", text[first : min(first + size, sentence.end)], options)


def _max_read_chars(context: int) -> int:
    """Return how long a piece of a sentence may be: it fits with a token for each byte."""
    return max(1, min(_MAX_READ_CHARS, context // 4))


def _state_request(name: str, text: str, options: GenerationOptions) -> Request:
    return Request(
        name,
        (),
        prompt=text,
        priority=options.priority or Priority.BULK,
        deadline=options.deadline,
        hidden_states=True,
    )
