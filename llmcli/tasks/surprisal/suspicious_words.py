"""proofread: the words of a document that surprise a model most, found without generating anything."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.reading.document import Document
from llmcli.errors import Unsupported
from llmcli.frozen_dataclass import frozen
from llmcli.tasks.execution.document_jobs import WAIT_FOR_ROOM, JobStep, run_document_jobs
from llmcli.tasks.execution.response_buffer import UsageTally, raise_request_error
from llmcli.tasks.execution.task_requests import GenerationOptions
from llmcli.tasks.quotation.quotable_text import QuotableDocument
from llmcli.tasks.quotation.quote_alignment import find_line_starts
from llmcli.tasks.summarization.sentence_candidates import CODE_BLOCK
from llmcli.tasks.surprisal.text_windows import TextWindow, cut_windows, window_sizes
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
    backend: Backend, documents: Sequence[Document | ItemFailed], options: GenerationOptions, wanted: SuspiciousWord
) -> Iterator[TaskEvent]:
    """Find the suspicious words of documents: a Result, or ItemFailed, for each.

    Fields of a Result: ``words``, in order of position, each with ``word``, ``score`` (bits), ``line`` and ``column``
    (in characters, from 1), ``start`` and ``end`` (offsets in the document's text) and ``page`` (None without pages);
    ``scored``: the number of all words that were scored. A document without words has none. Raises ``Unsupported`` if
    the backend does not report the log-probability of each token.
    """
    if not backend.info().token_scores:
        raise Unsupported("the log-probabilities of a text", detail="the server does not report them")
    yield from run_document_jobs(
        backend, documents, lambda item, document: _ProofreadJob(backend, item, document, options, wanted), "parts"
    )


class _ProofreadJob:
    """The job of one document: its windows, some at a time."""

    step = ""

    def __init__(
        self, backend: Backend, item: int, document: Document, options: GenerationOptions, wanted: SuspiciousWord
    ) -> None:
        self.item = item
        self.name = document.name
        self._document = document
        self._text = document.text
        self._options = options
        self._wanted = wanted
        info = backend.info()
        self._model = info.model
        self._cut = cut_windows(document.text, *window_sizes(info.context))
        self._all_sent = False
        self._is_blank = True
        self._code_blocks = [match.span() for match in CODE_BLOCK.finditer(document.text)]
        self._windows: dict[str, TextWindow] = {}
        self._scores: dict[str, Score] = {}
        self._found: list[tuple[float, int, int]] = []
        self._num_scored = 0
        self._tally = UsageTally()

    def start(self) -> Iterator[JobStep]:
        """Yield the requests; a blank document has its result at once."""
        for number, window in enumerate(self._cut):
            yield WAIT_FOR_ROOM
            yield self._request(f"{self.item}.{number}", window)
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
        self._add_words(self._windows.pop(event.id), self._scores.pop(event.id))
        self._is_blank = False
        if self._all_sent and not self._windows:
            yield self._make_result()

    def _request(self, name: str, window: TextWindow) -> Request:
        self._windows[name] = window
        return Request(
            name,
            (),
            prompt=self._text[window.context_start : window.start] or _FIRST_CONTEXT,
            candidates=(self._text[window.start : window.end],),
            logprobs=0,
            priority=self._options.priority or Priority.BULK,
            deadline=self._options.deadline,
        )

    def _add_words(self, window: TextWindow, score: Score) -> None:
        words = [
            word for word in find_words(self._text, window.start, window.end) if not self._is_in_code_block(word[0])
        ]
        self._num_scored += len(words)
        for word in score_words(window.start, score, words):
            if word.bits >= self._wanted.threshold:
                self._keep(word)

    def _is_in_code_block(self, offset: int) -> bool:
        index = bisect_right(self._code_blocks, (offset, len(self._text))) - 1
        return index >= 0 and offset < self._code_blocks[index][1]

    def _keep(self, word: WordSurprisal) -> None:
        """Keep a word, of equally surprising ones the first."""
        entry = (word.bits, -word.start, word.end)
        if self._wanted.top is None or len(self._found) < self._wanted.top:
            heapq.heappush(self._found, entry)
        else:
            heapq.heappushpop(self._found, entry)

    def _make_result(self) -> Result:
        places = QuotableDocument.from_document(self._document)
        lines = find_line_starts(self._text)
        words = [
            self._describe(-negative, end, bits, places, lines)
            for bits, negative, end in sorted(self._found, key=lambda entry: -entry[1])
        ]
        return Result(
            self.item,
            self.name,
            None,
            {"words": words, "scored": self._num_scored},
            model=self._model,
            usage=self._tally.usage,
            timings=self._tally.timings,
            blank=self._is_blank,
        )

    def _describe(
        self, start: int, end: int, bits: float, places: QuotableDocument, lines: Sequence[int]
    ) -> dict[str, Any]:
        line = bisect_right(lines, start)
        return {
            "word": self._text[start:end],
            "score": round(bits, SCORE_DIGITS),
            "line": line,
            "column": start - lines[line - 1] + 1,
            "start": start,
            "end": end,
            "page": places.quote(start, end).page,
        }
