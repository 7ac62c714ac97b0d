"""Quotes that a model picks from a passage: by a grammar where the backend has them, else checked and requested again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from llmcli.backends.base import Backend
from llmcli.errors import LlmError, Unsupported
from llmcli.errors.model_errors import BadGrammar
from llmcli.frozen_dataclass import frozen, replace
from llmcli.grammars import NO_QUOTATION
from llmcli.interrupt import check_interrupt
from llmcli.tasks.execution.document_jobs import MAX_PENDING_REQUESTS
from llmcli.tasks.execution.response_buffer import ResponseBuffer, raise_request_error, require_finished
from llmcli.tasks.execution.task_requests import GenerationOptions, make_retry
from llmcli.tasks.quotation.quotable_text import QuotableText, Quote
from llmcli.tasks.quotation.quotation_grammar import (
    MAX_QUOTATION_CHARACTERS,
    MIN_QUOTATION_WORDS,
    is_long_enough,
    quotation_grammar,
)
from llmcli.types import Finished, FinishReason, Request, Usage

MIN_SIMILARITY = 0.8
"""Of an answer without a grammar to the words of the passage that are quoted instead."""
MAX_ATTEMPTS = 3
QUOTE_TOKENS = 160
"""The longest answer; a quote that it cuts ends with its last whole word."""
_MARKED = re.compile(r"[\"\u201c\u00ab\u201e]([^\"\u201c\u201d\u00ab\u00bb\u201e]+)[\"\u201d\u00bb\u201c]")
_LINE_MARKS = " \t>*-\"'\u201c\u201d\u00ab\u00bb\u201e`"


@frozen
class QuoteOptions:
    """``min_words`` and ``max_characters`` are as in ``quotation_terminal``; ``allows_none``: the model may say NONE.

    ``min_similarity`` and ``max_attempts`` are for backends without grammars.
    """

    min_words: int = MIN_QUOTATION_WORDS
    max_characters: int = MAX_QUOTATION_CHARACTERS
    allows_none: bool = True
    min_similarity: float = MIN_SIMILARITY
    max_attempts: int = MAX_ATTEMPTS


DEFAULT_QUOTE_OPTIONS = QuoteOptions()


class QuoteGeneration:
    """One quote from ``passage``: its requests, and what became of it.

    ``request`` asks for the quote and has no constraint. Submit ``start()``, collect its events in a ``ResponseBuffer``,
    pass that to ``finish_attempt`` and submit what it returns, until it returns None. ``quote`` is then the quote, which
    stands in the passage, or None; ``declined`` says that the model answered NONE. ``is_constrained``: decoding itself
    admitted nothing else. ``usage`` is that of all attempts.
    """

    def __init__(
        self,
        passage: QuotableText,
        request: Request,
        generation: GenerationOptions,
        options: QuoteOptions = DEFAULT_QUOTE_OPTIONS,
    ) -> None:
        self.passage = passage
        self.quote: Quote | None = None
        self.declined = False
        self.error: LlmError | None = None
        self.is_constrained = True
        self.usage = Usage()
        self._options = options
        self._generation = generation
        self._request = replace(request, gathered=True, max_tokens=request.max_tokens or QUOTE_TOKENS)
        self._num_checked = 0

    def start(self) -> Request:
        """Return the first request."""
        options = self._options
        grammar = quotation_grammar(
            self.passage.text,
            min_words=options.min_words,
            max_characters=options.max_characters,
            allows_none=options.allows_none,
        )
        return replace(self._request, grammar=grammar)

    def finish_attempt(self, answer: ResponseBuffer) -> Request | None:
        """Return the next request, None at the end. Raises the failure of a request, except that of a grammar.

        A server may not know grammars, and that of a passage of many equal parts may be too large: then the quote is
        looked up in the passage.
        """
        finished = require_finished(answer)
        self.usage += finished.usage
        if self.is_constrained and isinstance(finished.error, Unsupported | BadGrammar):
            self.is_constrained = False
            self._request = replace(self._request, id=f"{self._request.id}.free")
            return self._request
        raise_request_error(finished)
        if self._accept(answer.text, is_cut=finished.reason is FinishReason.LENGTH):
            return None
        self.is_constrained = False  # the server has ignored the grammar
        self._num_checked += 1
        again = make_retry(self._request, self._generation) if self._num_checked < self._options.max_attempts else None
        self._request = again or self._request
        return again

    def _accept(self, text: str, *, is_cut: bool) -> bool:
        """Take the quote from an answer; return whether there is one, or none is wanted."""
        if self._options.allows_none and text.strip(f"{_LINE_MARKS}.\n") == NO_QUOTATION:
            self.declined = True
            return True
        if is_cut:  # the last word may be cut
            text = text.rpartition(" ")[0]
        whole = self.passage.locate(text)
        self.quote = whole if whole is not None and self._is_long_enough(whole) else self._best_part(text)
        return self.quote is not None or (whole is not None and is_cut and self.is_constrained)

    def _best_part(self, answer: str) -> Quote | None:
        """Return the quote that an answer holds: what it puts between quotation marks, one of its lines, or all of it."""
        parts = dict.fromkeys([*_MARKED.findall(answer), *answer.splitlines(), answer])
        least = self._options.min_similarity
        located = [self.passage.locate(part.strip(_LINE_MARKS), min_similarity=least) for part in parts]
        found = [quote for quote in located if quote is not None and self._is_long_enough(quote)]
        return max(found, key=lambda quote: (quote.similarity, len(quote.text)), default=None)

    def _is_long_enough(self, quote: Quote) -> bool:
        return is_long_enough(quote.text, self.passage.text, self._options.min_words)


def generate_quotes(backend: Backend, quotes: Iterable[QuoteGeneration]) -> Iterator[QuoteGeneration]:
    """Run all of them in one job and yield each as it ends; ``error`` is set where it failed.

    Their requests need different ids. At most ``MAX_PENDING_REQUESTS`` are pending at a time, since the grammar of each
    takes about 1 MB in the engine.
    """
    unfinished: dict[str, tuple[QuoteGeneration, ResponseBuffer]] = {}
    waiting = iter(quotes)
    with backend.open() as job:

        def submit(quote: QuoteGeneration, request: Request) -> None:
            unfinished[request.id] = (quote, ResponseBuffer())
            job.submit(request)

        for each in islice(waiting, MAX_PENDING_REQUESTS):
            submit(each, each.start())
        if not unfinished:
            return
        for event in job:
            quote, answer = unfinished[event.id]
            answer.add_event(event)
            if not isinstance(event, Finished):
                continue
            del unfinished[event.id]
            again = None
            try:
                again = quote.finish_attempt(answer)
            except LlmError as error:
                check_interrupt()
                quote.error = error
            if again is not None:
                submit(quote, again)
            else:
                for each in islice(waiting, 1):
                    submit(each, each.start())
                yield quote
            if not unfinished:
                job.close_input()
