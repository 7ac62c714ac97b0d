"""summarize --style key-sentences: the sentences of a document that carry it, chosen without generating anything.

Each sentence is a request of its own for its mean hidden state, so that sentences fill the batches of the engine and
none pays for attention to a long text before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.large_text import StreamedText, iter_text_blocks
from llmcli.errors import EmptyInput, Unsupported
from llmcli.frozen_dataclass import replace, slotted
from llmcli.tasks.execution.document_jobs import JobStep
from llmcli.tasks.execution.response_buffer import UsageTally, raise_request_error
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.quotation.quotable_text import QuotableDocument
from llmcli.tasks.summarization.sentence_candidates import SentenceCandidate, find_candidates
from llmcli.tasks.summarization.sentence_ranking import ChosenSentence, choose_sentences
from llmcli.tasks.summarization.sentence_store import SentenceStore
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


@slotted
class _OpenSentence:
    """A sentence of which ``read`` characters have a vector; ``vector`` is their share of that of the sentence."""

    candidate: SentenceCandidate
    vector: Any = None
    read: int = 0


class KeySentencesJob:
    """The job of one document: the hidden states of its sentences, some hundred at a time, then the choice.

    ``is_record``: the document is one of many records, whose warnings are in their results only.
    """

    step = ""

    def __init__(
        self,
        backend: Backend,
        item: int,
        document: Document | StreamedText,
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
        self._document = document
        self._read_chars = _max_read_chars(backend.info().context)
        self._unsent = enumerate(read_candidates(document))
        self._store = SentenceStore()
        self._count = 0
        self._open: dict[int, _OpenSentence] = {}
        self._focus: Any = None
        self._pending: dict[str, tuple[int, int]] = {}  # request id -> sentence, characters of it
        self._tally = UsageTally()

    def start(self) -> Iterator[JobStep]:
        """Begin; raises ``EmptyInput`` for a document without a letter or digit."""
        yield from self._request_more(MAX_PENDING)
        if not self._count:
            raise EmptyInput(self.name)
        if self._wanted.focus:
            yield from self._requests(_FOCUS, self._wanted.focus)

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the next requests, and the result after the last event.

        Raises the failure of a request, and ``Unsupported`` if the backend reports no hidden states.
        """
        if isinstance(event, HiddenStates):
            self._add_vector(*self._pending[event.id], event.mean)
        if not isinstance(event, Finished):
            return
        raise_request_error(event)
        self._tally.add(event)
        del self._pending[event.id]
        yield from self._request_more(1)
        if self._pending:
            return
        if self._open or len(self._store) < self._count or (self._wanted.focus and self._focus is None):
            raise Unsupported("hidden states", detail="the server reports none")
        yield from self._finish()

    def _add_vector(self, number: int, characters: int, mean: bytes) -> None:
        """Add the vector of a sentence or of a piece of it; that of the sentence is the mean of those of its pieces."""
        import numpy as np

        vector = np.frombuffer(mean, dtype="<f4")
        if number == _FOCUS:
            share = vector * (characters / len(self._wanted.focus))
            self._focus = share if self._focus is None else self._focus + share
            return
        sentence = self._open[number]
        length = sentence.candidate.end - sentence.candidate.start
        vector = vector * (characters / length)
        sentence.vector = vector if sentence.vector is None else sentence.vector + vector
        sentence.read += characters
        if sentence.read == length:
            self._store.add(number, sentence.candidate, sentence.vector)
            del self._open[number]

    def _request_more(self, count: int) -> Iterator[Request]:
        for number, (sentence, text) in islice(self._unsent, count):
            self._count += 1
            self._open[number] = _OpenSentence(sentence)
            yield from self._requests(number, text)

    def _requests(self, sentence: int, text: str) -> Iterator[Request]:
        """Yield a request for each piece of a sentence: most have only one."""
        for first in range(0, len(text), self._read_chars):
            piece = text[first : first + self._read_chars]
            name = f"{self.item}.{sentence}.{first}"
            self._pending[name] = sentence, len(piece)
            yield _state_request(name, piece, self._options)

    def _finish(self) -> Iterator[JobStep]:
        """Choose the sentences and yield the result."""
        words = self._wanted.words or self._default_words()
        chosen = choose_sentences(self._store, words, self._focus)
        self._store.close()
        sentences = list(self._describe(chosen))
        text = "\n".join(" ".join(sentence["text"].split()) for sentence in sentences)
        warning = length_warning(text, self._wanted.words)
        if warning and not self._is_record:
            yield Notice(warning, self.item)
        yield Result(
            self.item,
            self.name,
            text,
            {"method": KEY_SENTENCES, "sentences": sentences, "coverage": 1.0, "missing": []},
            model=self._backend.info().model,
            usage=self._tally.usage,
            timings=self._tally.timings,
            warnings=(warning,) if warning else (),
        )

    def _default_words(self) -> int:
        return round(min(MAX_WORDS, max(MIN_WORDS, WORDS_SHARE * self._store.eligible_words)))

    def _describe(self, chosen: Sequence[ChosenSentence]) -> Iterator[dict[str, Any]]:
        """Yield what ``--json`` shows of sentences: exactly their text, and where that stands."""
        waiting = deque(chosen)
        document = self._document
        sections = QuotableDocument.from_document(document).sections if isinstance(document, Document) else ()
        for block in iter_text_blocks(document):
            places = QuotableDocument(self.name, block.text, sections, offset=block.start, first_line=block.first_line)
            while waiting and waiting[0].start < block.start + len(block.text):
                each = waiting.popleft()
                found = places.quote(each.start - block.start, each.end - block.start)
                yield {
                    "text": found.text,
                    "start": found.start,
                    "end": found.end,
                    "page": found.page,
                    "first_line": found.first_line,
                    "last_line": found.last_line,
                    "score": each.score,
                }
            if not waiting:
                return


def read_candidates(document: Document | StreamedText) -> Iterator[tuple[SentenceCandidate, str]]:
    """Yield the sentences of a document with their texts."""
    for block in iter_text_blocks(document):
        for each in find_candidates(block.text):
            placed = replace(each, start=block.start + each.start, end=block.start + each.end)
            yield placed, block.text[each.start : each.end]


def sentence_requests(document: Document | StreamedText, context: int, options: GenerationOptions) -> Iterator[Request]:
    """Yield the requests for all sentences of a document."""
    size = _max_read_chars(context)
    for _, text in read_candidates(document):
        for first in range(0, len(text), size):
            yield _state_request("count", text[first : first + size], options)


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
