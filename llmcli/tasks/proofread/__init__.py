"""proofread: the words of a document that surprise a model most or look misspelled, found without generating anything.

The text is scored in windows that fit the context, each with the text before it, so that every token has a context. The
surprisal of a word is -log2 of its probability, given the text before it, summed over its tokens. The score of a word
that looks misspelled (``spelling``) is higher.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llmcli.backends.base import Backend
from llmcli.documents.protected_spans import PLAIN_TEXT_KINDS, find_spans
from llmcli.documents.reading.document import Document
from llmcli.documents.reading.streamed_file import StreamedFile, TextBlock, iter_text_blocks
from llmcli.errors.network_errors import NotOnServers
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import run_interruptible
from llmcli.tasks.proofread.spelling import WORD, Spelling, read_spelling
from llmcli.tasks.quotes.quotable_text import QuotableDocument
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun, run_inputs
from llmcli.tasks.summarize.sentence_candidates import CODE_BLOCK
from llmcli.types import ItemFailed, Priority, Request, Result, Score, TaskEvent

DEFAULT_THRESHOLD_BITS = 20.0
"""``benchmarks/proofread_quality.py``: seven of ten wrong words, and one of sixty right ones."""
MISSPELLING_BITS = 10.0
"""Added to the surprisal of a word that looks misspelled. ``benchmarks/proofread_spelling.py``: with less, fewer of the
wrong words are listed, with more, more right ones: words such as "async", which are in no list, but surprise little."""
SCORE_DIGITS = 2
WINDOW_BYTES, CONTEXT_BYTES = 2048, 1024
"""Bytes of a window, and of the text before it that is evaluated with it."""
MIN_CONTEXT_TOKENS = 64
"""The smallest context of a model that is used at all."""
_RESERVED_TOKENS = 8
"""For the tokens that a tokenizer adds."""
_FIRST_CONTEXT = "\n"
"""What stands before the beginning of a text, for models without a token for that."""
NATS_PER_BIT = math.log(2)


@frozen
class SuspiciousWord:
    """Which words are reported: of those with at least ``threshold`` bits the ``top`` most surprising, None: all."""

    threshold: float = DEFAULT_THRESHOLD_BITS
    top: int | None = None


def proofread(
    backend: Backend,
    documents: Iterable[Document | StreamedFile | ItemFailed],
    options: GenerationOptions,
    wanted: SuspiciousWord,
) -> Iterator[TaskEvent]:
    """Find the suspicious words of documents: a Result, or ItemFailed, for each.

    Fields of a Result: ``words``, in order of position, each with ``word``, ``score`` (bits), ``suggestion`` (None for
    a word that does not look misspelled), ``line`` and ``column`` (in characters, from 1), ``start`` and ``end``
    (offsets in the document's text) and ``page`` (None without pages); ``scored``: the number of all words that were
    scored. A document without words has none. Raises ``NotOnServers`` if the backend does not report the
    log-probability of each token.
    """
    if not backend.info().token_scores:
        raise NotOnServers("the log-probabilities of a text", detail="the server does not report them")

    async def task(run: TaskRun, document: Document | StreamedFile) -> Result:
        return await proofread_document(run, document, options, wanted)

    texts: Iterable[Any] = documents  # mypy finds no common type of three
    yield from run_inputs(backend, texts, task, "parts")


async def proofread_document(
    run: TaskRun, document: Document | StreamedFile, options: GenerationOptions, wanted: SuspiciousWord
) -> Result:
    """Return the suspicious words of a document, as ``proofread`` does."""
    spelling = run_interruptible(read_spelling, document)

    async def score(window: _Window) -> tuple[_Block, list[WordSurprisal]]:
        answer = await run.ask(
            Request(
                f"{run.item}.{window.number}",
                (),
                prompt=window.context or _FIRST_CONTEXT,
                candidates=(window.text,),
                logprobs=0,
                priority=options.priority or Priority.BULK,
                deadline=options.deadline,
            )
        )
        return window.block, list(window.score_words(answer.scores[0]))

    found: list[tuple[float, int, dict[str, Any]]] = []
    num_windows = num_words = 0
    async for block, words in run.each(_iter_windows(document, run.backend.info().context), score):
        num_windows += 1
        num_words += len(words)
        for word in words:
            scored = block.score(word, spelling, wanted.threshold)
            if scored.bits >= wanted.threshold:
                _keep_most_suspicious(found, wanted.top, block.places, scored)
    in_order = [word for _, _, word in sorted(found, key=lambda entry: -entry[1])]
    return run.result(None, {"words": in_order, "scored": num_words}, blank=not num_windows)


def _keep_most_suspicious(
    found: list[tuple[float, int, dict[str, Any]]], top: int | None, places: QuotableDocument, word: ScoredWord
) -> None:
    """Keep a word among the ``top`` ones, of equally suspicious words the first."""
    rank = (word.bits, -(word.start + places.offset))
    if top is None or len(found) < top:
        heapq.heappush(found, (*rank, _describe_word(places, word)))
    elif found and rank > found[0][:2]:
        heapq.heapreplace(found, (*rank, _describe_word(places, word)))


def _describe_word(places: QuotableDocument, word: ScoredWord) -> dict[str, Any]:
    found = places.quote(word.start, word.end)
    return {
        "word": found.text,
        "score": round(word.bits, SCORE_DIGITS),
        "suggestion": word.suggestion,
        "line": found.first_line,
        "column": places.column_of(word.start),
        "start": found.start,
        "end": found.end,
        "page": found.page,
    }


@frozen
class ScoredWord:
    """A word at these offsets of a block: its surprisal, or more if it looks like a misspelling of ``suggestion``."""

    start: int
    end: int
    bits: float
    suggestion: str | None


# ---- windows ---------------------------------------------------------------------------------------------------------


class _Block:
    """A block of a document, or all of it, after the end of the text before it, ``context``."""

    def __init__(self, document: Document | StreamedFile, block: TextBlock, context: str) -> None:
        self.places = QuotableDocument.from_block(document, block)
        self.text = context + block.text
        self.context_length = len(context)
        self._code_blocks = [match.span() for match in CODE_BLOCK.finditer(block.text)]

    def score(self, word: WordSurprisal, spelling: Spelling | None, threshold: float) -> ScoredWord:
        """Return the score of a word; below the threshold it may be the surprisal alone."""
        suggestion = None
        if spelling is not None and word.bits + MISSPELLING_BITS >= threshold:
            suggestion = spelling.suggest(self.text, word.start + self.context_length, word.end + self.context_length)
        bits = word.bits if suggestion is None else word.bits + MISSPELLING_BITS
        return ScoredWord(word.start, word.end, bits, suggestion)

    def is_code(self, offset: int) -> bool:
        """Whether an offset in the block is in a block of code."""
        index = bisect_right(self._code_blocks, (offset, len(self.text))) - 1
        return index >= 0 and offset < self._code_blocks[index][1]


@frozen
class _Window:
    """Window ``number`` of a document, in ``block``."""

    number: int
    block: _Block
    window: TextWindow

    @property
    def context(self) -> str:
        """The text before the window."""
        return self.block.text[self.window.context_start : self.window.start]

    @property
    def text(self) -> str:
        """The text of the window."""
        return self.block.text[self.window.start : self.window.end]

    def score_words(self, score: Score) -> Iterator[WordSurprisal]:
        """Yield the words outside of code; their offsets are those in ``block.places``."""
        shift = self.block.context_length
        found = find_words(self.block.text, self.window.start, self.window.end)
        words = [(start - shift, end - shift) for start, end in found if not self.block.is_code(start - shift)]
        return score_words(self.window.start - shift, score, words)


def _iter_windows(document: Document | StreamedFile, context_tokens: int) -> Iterator[_Window]:
    """Yield the windows of a document, for a model with a context of so many tokens."""
    context, number = "", 0
    for text_block in iter_text_blocks(document):
        block = _Block(document, text_block, context)
        context = text_block.text[-CONTEXT_BYTES:]
        for window in cut_windows(block.text, *window_sizes(context_tokens), begin=block.context_length):
            yield _Window(number, block, window)
            number += 1


@frozen
class TextWindow:
    """``text[start:end]``, and where the text before it begins that is its context."""

    context_start: int
    start: int
    end: int


def window_sizes(context_tokens: int) -> tuple[int, int]:
    """Return the bytes of a window and of the text before it, for a model with a context of so many tokens.

    A token has at least one byte, so they fit without being counted.
    """
    available = max(MIN_CONTEXT_TOKENS, context_tokens) - _RESERVED_TOKENS
    scale = min(1.0, available / (WINDOW_BYTES + CONTEXT_BYTES))
    return int(WINDOW_BYTES * scale), int(CONTEXT_BYTES * scale)


def cut_windows(
    text: str, window_bytes: int = WINDOW_BYTES, context_bytes: int = CONTEXT_BYTES, begin: int = 0
) -> Iterator[TextWindow]:
    """Yield the windows of ``text[begin:]`` without the white space around it; together they hold every character once.

    A window ends before white space where there is some, so that no word is divided. What stands before ``begin`` is
    context only.
    """
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    start = max(first, last - len(text[begin:last].lstrip())) if begin < last else last
    while start < last:
        end = min(last, start + _prefix_length(text[start : start + window_bytes], window_bytes))
        if end < last:
            end = _last_blank(text, start, end)
        yield TextWindow(max(first, _context_start(text, start, context_bytes)), start, end)
        start = end


def _prefix_length(text: str, max_bytes: int) -> int:
    """Return how many characters the longest prefix of at most so many bytes has, at least one."""
    return max(1, len(text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")))


def _last_blank(text: str, start: int, end: int) -> int:
    """Return the last position after the middle before which a word ends; ``end`` without one."""
    middle = (start + end) // 2
    at = end
    while at > middle and not text[at].isspace():
        at -= 1
    while at > middle and text[at - 1].isspace():
        at -= 1
    return at if at > middle else end


def _context_start(text: str, start: int, context_bytes: int) -> int:
    """Return where the context of a window begins: at a word, if one begins in its first half."""
    data = text[max(0, start - context_bytes) : start].encode("utf-8", "replace")
    begin = start - len(data[max(0, len(data) - context_bytes) :].decode("utf-8", "ignore"))
    if begin <= 0 or text[begin - 1].isspace():
        return max(0, begin)
    middle = (begin + start) // 2
    at = begin
    while at < middle and not text[at].isspace():
        at += 1
    return at + 1 if at < middle else begin


# ---- surprisal -------------------------------------------------------------------------------------------------------


@frozen
class WordSurprisal:
    """The word ``text[start:end]`` has ``bits`` of surprisal."""

    start: int
    end: int
    bits: float


def find_words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the offsets of the words in ``text[start:end]`` that have a letter and are not code, addresses or tags."""
    spans = iter(find_spans(text[start:end], PLAIN_TEXT_KINDS))
    span = next(spans, None)
    words = []
    for match in WORD.finditer(text, start, end):
        while span is not None and span.end + start <= match.start():
            span = next(spans, None)
        if (span is None or match.end() <= span.start + start) and any(map(str.isalpha, match[0])):
            words.append(match.span())
    return words


def score_words(start: int, score: Score, words: Sequence[tuple[int, int]]) -> Iterator[WordSurprisal]:
    """Yield the surprisal of each of ``words``, which stand in the text from ``start`` on that ``score`` is about.

    A token belongs to the first word that it touches; the tokens of white space and marks belong to none.
    """
    owners = _owners(score.candidate, start, words)
    bits = [0.0] * len(words)
    at = len(owners) - sum(score.token_bytes)  # negative if the first token begins before the candidate
    for size, logprob in zip(score.token_bytes, score.token_logprobs, strict=True):
        owner = next((each for each in owners[max(0, at) : max(0, at + size)] if each is not None), None)
        if owner is not None:
            bits[owner] -= logprob / NATS_PER_BIT
        at += size
    for (first, last), value in zip(words, bits, strict=True):
        yield WordSurprisal(first, last, value)


def _owners(candidate: str, start: int, words: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return for each byte of a candidate the index of its word."""
    owner_of: list[int | None] = [None] * len(candidate)
    for index, (first, last) in enumerate(words):
        owner_of[first - start : last - start] = [index] * (last - first)
    if candidate.isascii():
        return owner_of
    sizes = (len(character.encode("utf-8", "replace")) for character in candidate)
    return [owner for owner, size in zip(owner_of, sizes, strict=True) for _ in range(size)]
