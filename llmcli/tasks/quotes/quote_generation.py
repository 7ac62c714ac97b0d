"""Quotes that a model picks from a passage: by a grammar if the backend has them, else checked and retried."""

from __future__ import annotations

import re

from llmcli.fast_dataclass import frozen, replace
from llmcli.tasks.quotes.quotable_text import PassageSpan, Quote
from llmcli.tasks.quotes.quote_grammar import (
    MAX_QUOTATION_CHARACTERS,
    MIN_QUOTATION_WORDS,
    NO_QUOTATION,
    is_long_enough,
    quote_grammar,
)
from llmcli.tasks.runner.answers import Answer, Reading, ask_until, repeat_with
from llmcli.tasks.runner.constrained_answers import ask_constrained
from llmcli.tasks.runner.task_requests import GenerationOptions
from llmcli.tasks.runner.task_run import TaskRun
from llmcli.types import FinishReason, Request

MIN_SIMILARITY = 0.8
"""Of an answer without a grammar to the words of the passage that are quoted instead."""
MAX_ATTEMPTS = 3
QUOTE_TOKENS = 160
"""The longest answer; a quote that it cuts ends with its last whole word."""
NO_QUOTE = "it is no quote of the passage"
_MARKED = re.compile(r"[\"\u201c\u00ab\u201e]([^\"\u201c\u201d\u00ab\u00bb\u201e]+)[\"\u201d\u00bb\u201c]")
_LINE_MARKS = " \t>*-\"'\u201c\u201d\u00ab\u00bb\u201e`"


@frozen
class QuoteOptions:
    """``min_words`` and ``max_characters`` are as in ``quote_terminal``; ``allows_none``: the model may say NONE.

    ``min_similarity`` and ``max_attempts`` are for backends without grammars.
    """

    min_words: int = MIN_QUOTATION_WORDS
    max_characters: int = MAX_QUOTATION_CHARACTERS
    allows_none: bool = True
    min_similarity: float = MIN_SIMILARITY
    max_attempts: int = MAX_ATTEMPTS


DEFAULT_QUOTE_OPTIONS = QuoteOptions()


@frozen
class GeneratedQuote:
    """A quote of a passage, None if there is none.

    ``declined``: the model answered NONE. ``is_constrained``: decoding itself admitted nothing else.
    """

    quote: Quote | None
    declined: bool = False
    is_constrained: bool = True


MAX_QUOTE_CALLS = DEFAULT_QUOTE_OPTIONS.max_attempts + 1
"""Requests for one quote at most: the first one is repeated for a server that refuses the grammar."""


async def generate_quote(
    run: TaskRun,
    passage: PassageSpan,
    request: Request,
    generation: GenerationOptions,
    options: QuoteOptions = DEFAULT_QUOTE_OPTIONS,
) -> GeneratedQuote:
    """Return what a model quotes from ``passage`` when it gets ``request``, which has no constraint.

    Where the backend has no grammars, the answer is looked up in the passage, and asked for again if it is not there.
    Raises the failure of a request.
    """

    def constrain(request: Request) -> Request:
        grammar = quote_grammar(
            passage.text,
            min_words=options.min_words,
            max_characters=options.max_characters,
            allows_none=options.allows_none,
        )
        return replace(request, grammar=grammar)

    constraints = [constrain]

    async def ask(request: Request) -> Reading[GeneratedQuote]:
        answer, num_missing = await ask_constrained(run.ask, request, constraints)
        is_constrained = num_missing < len(constraints)
        constraints.clear()  # an answer that has to be asked for again shows that the server has ignored the grammar
        found = _read_quote(passage, answer, options, is_constrained=is_constrained)
        return Reading(GeneratedQuote(None, is_constrained=False), NO_QUOTE) if found is None else Reading(found)

    request = replace(request, max_tokens=request.max_tokens or QUOTE_TOKENS)
    *_, last = await ask_until(ask, request, repeat_with(generation), attempts=options.max_attempts)
    return last.value


def _read_quote(
    passage: PassageSpan, answer: Answer, options: QuoteOptions, *, is_constrained: bool
) -> GeneratedQuote | None:
    """Return the quote that an answer gives, or that none is wanted or left; None if it has to be asked again."""
    text = answer.text
    if options.allows_none and text.strip(f"{_LINE_MARKS}.\n") == NO_QUOTATION:
        return GeneratedQuote(None, declined=True, is_constrained=is_constrained)
    is_cut = answer.finished.reason is FinishReason.LENGTH
    if is_cut:  # the last word may be cut
        text = text.rpartition(" ")[0]
    whole = passage.locate(text)
    quote = whole if whole is not None and _is_long_enough(whole, passage, options) else None
    quote = quote or _best_part(passage, text, options)
    if quote is None and not (whole is not None and is_cut and is_constrained):
        return None
    return GeneratedQuote(quote, is_constrained=is_constrained)


def _best_part(passage: PassageSpan, answer: str, options: QuoteOptions) -> Quote | None:
    """Return the quote that an answer holds: what it puts between quotation marks, one of its lines, or all of it."""
    parts = dict.fromkeys([*_MARKED.findall(answer), *answer.splitlines(), answer])
    located = [passage.locate(part.strip(_LINE_MARKS), min_similarity=options.min_similarity) for part in parts]
    found = [quote for quote in located if quote is not None and _is_long_enough(quote, passage, options)]
    return max(found, key=lambda quote: (quote.similarity, len(quote.text)), default=None)


def _is_long_enough(quote: Quote, passage: PassageSpan, options: QuoteOptions) -> bool:
    return is_long_enough(quote.text, passage.text, options.min_words)
