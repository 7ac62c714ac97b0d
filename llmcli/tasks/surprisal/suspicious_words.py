"""proofread: the words of a document that surprise a model most, found without generating anything."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.large_text import LargeText, TextBlock, iter_text_blocks
from llmcli.errors import Unsupported
from llmcli.frozen_dataclass import frozen
from llmcli.tasks.execution.document_jobs import DocumentJob, JobStep, WaitForCapacity, run_document_jobs
from llmcli.tasks.execution.response_buffer import UsageTally, raise_request_error
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.quotation.quotable_text import QuotableDocument
from llmcli.tasks.summarization.sentence_candidates import CODE_BLOCK
from llmcli.tasks.surprisal.text_windows import CONTEXT_BYTES, TextWindow, cut_windows, window_sizes
from llmcli.tasks.surprisal.word_surprisal import WordSurprisal, find_words, score_words
from llmcli.types import CandidateScores, Event, Finished, ItemFailed, Priority, Request, Result, Score, TaskEvent

DEFAULT_THRESHOLD_BITS = 20.0
"""``benchmarks/proofread_quality.py``: two thirds of the wrong words, and one of sixty right ones."""
SCORE_DIGITS = 2
_FIRST_CONTEXT = "\n"
"""What stands before the beginning of a text, for models without a token for that."""


@frozen
class SuspiciousWord:
    """Which words are reported: of those with at least ``threshold`` bits the ``top`` most surprising, None: all."""

    threshold: float = DEFAULT_THRESHOLD_BITS
    top: int | None = None


def proofread(
    backend: Backend,
    documents: Iterable[Document | LargeText | ItemFailed],
    options: GenerationOptions,
    wanted: SuspiciousWord,
) -> Iterator[TaskEvent]:
    """Find the suspicious words of documents: a Result, or ItemFailed, for each.

    Fields of a Result: ``words``, in order of position, each with ``word``, ``score`` (bits), ``line`` and ``column``
    (in characters, from 1), ``start`` and ``end`` (offsets in the document's text) and ``page`` (None without pages);
    ``scored``: the number of all words that were scored. A document without words has none. Raises ``Unsupported`` if
    the backend does not report the log-probability of each token.
    """
    if not backend.info().token_scores:
        raise Unsupported("the log-probabilities of a text", detail="the server does not report them")

    def make_job(item: int, document: Document | LargeText) -> DocumentJob:
        return _ProofreadJob(backend, item, document, options, wanted)

    texts: Iterable[Any] = documents  # mypy finds no common type of three
    yield from run_document_jobs(backend, texts, make_job, "parts")


class _ProofreadBlock:
    """A block of a document, or all of it: its windows, and where its words stand.

    ``context``: the text before it, of which the first windows see the end.
    """

    def __init__(self, document: Document | LargeText, block: TextBlock, context: str) -> None:
        self.places = QuotableDocument.from_block(document, block)
        self._code_blocks = [match.span() for match in CODE_BLOCK.finditer(block.text)]
        self._text = context + block.text
        self._context_length = len(context)

    def windows(self, context_tokens: int) -> Iterator[TextWindow]:
        """Yield its windows, for a model with a context of so many tokens."""
        return cut_windows(self._text, *window_sizes(context_tokens), begin=self._context_length)

    def split_context(self, window: TextWindow) -> tuple[str, str]:
        """Return the context of a window and its text."""
        return self._text[window.context_start : window.start], self._text[window.start : window.end]

    def score_words(self, window: TextWindow, score: Score) -> Iterator[WordSurprisal]:
        """Yield the words of a window outside of code; their offsets are those in ``places``."""
        shift = self._context_length
        spans = ((start - shift, end - shift) for start, end in find_words(self._text, window.start, window.end))
        words = [span for span in spans if not self._is_in_code_block(span[0])]
        return score_words(window.start - shift, score, words)

    def _is_in_code_block(self, offset: int) -> bool:
        index = bisect_right(self._code_blocks, (offset, len(self._text))) - 1
        return index >= 0 and offset < self._code_blocks[index][1]


class _ProofreadJob:
    """The job of one document: its windows, some at a time."""

    step = ""

    def __init__(
        self,
        backend: Backend,
        item: int,
        document: Document | LargeText,
        options: GenerationOptions,
        wanted: SuspiciousWord,
    ) -> None:
        self.item = item
        self.name = document.name
        self._document = document
        self._options = options
        self._wanted = wanted
        self._info = backend.info()
        self._all_sent = False
        self._is_blank = True
        self._windows: dict[str, tuple[_ProofreadBlock, TextWindow]] = {}
        self._scores: dict[str, Score] = {}
        self._found: list[tuple[float, int, dict[str, Any]]] = []
        self._num_scored = 0
        self._tally = UsageTally()

    def start(self) -> Iterator[JobStep]:
        """Yield the requests; a blank document has its result at once."""
        context, number = "", 0
        for text_block in iter_text_blocks(self._document):
            block = _ProofreadBlock(self._document, text_block, context)
            context = text_block.text[-CONTEXT_BYTES:]
            for window in block.windows(self._info.context):
                yield WaitForCapacity()
                yield self._request(f"{self.item}.{number}", block, window)
                number += 1
        self._all_sent = True
        if not self._windows:
            yield self._make_result()

    def handle_event(self, event: Event) -> Iterator[JobStep]:
        """Yield the result after the last event. Raises the failure of a request."""
        if isinstance(event, CandidateScores):
            self._scores[event.id] = event.scores[0]
        if not isinstance(event, Finished):
            return
        raise_request_error(event)
        self._tally.add(event)
        self._add_words(*self._windows.pop(event.id), self._scores.pop(event.id))
        self._is_blank = False
        if self._all_sent and not self._windows:
            yield self._make_result()

    def _request(self, name: str, block: _ProofreadBlock, window: TextWindow) -> Request:
        self._windows[name] = block, window
        before, text = block.split_context(window)
        return Request(
            name,
            (),
            prompt=before or _FIRST_CONTEXT,
            candidates=(text,),
            logprobs=0,
            priority=self._options.priority or Priority.BULK,
            deadline=self._options.deadline,
        )

    def _add_words(self, block: _ProofreadBlock, window: TextWindow, score: Score) -> None:
        for word in block.score_words(window, score):
            self._num_scored += 1
            if word.bits >= self._wanted.threshold:
                self._keep_most_surprising(block.places, word)

    def _keep_most_surprising(self, places: QuotableDocument, word: WordSurprisal) -> None:
        """Keep a word, of equally surprising ones the first."""
        rank = (word.bits, -(word.start + places.offset))
        if self._wanted.top is None or len(self._found) < self._wanted.top:
            heapq.heappush(self._found, (*rank, _describe_word(places, word)))
        elif self._found and rank > self._found[0][:2]:
            heapq.heapreplace(self._found, (*rank, _describe_word(places, word)))

    def _make_result(self) -> Result:
        return Result(
            self.item,
            self.name,
            None,
            {
                "words": [each for _, _, each in sorted(self._found, key=lambda entry: -entry[1])],
                "scored": self._num_scored,
            },
            model=self._info.model,
            usage=self._tally.usage,
            timings=self._tally.timings,
            blank=self._is_blank,
        )


def _describe_word(places: QuotableDocument, word: WordSurprisal) -> dict[str, Any]:
    found = places.quote(word.start, word.end)
    return {
        "word": found.text,
        "score": round(word.bits, SCORE_DIGITS),
        "line": found.first_line,
        "column": places.column_of(word.start),
        "start": found.start,
        "end": found.end,
        "page": found.page,
    }
