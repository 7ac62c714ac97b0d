"""Quotes: what passages say about a question, or for an answer, in words that stand there."""

from __future__ import annotations

from llmcli.frozen_dataclass import frozen, replace
from llmcli.store.passage_index import IndexedPassage
from llmcli.tasks.quotation.quotable_text import PassageSpan, QuotableDocument, Quote, SectionStart
from llmcli.tasks.retrieval.passage_pool import FoundPassage


@frozen
class QuotedPassage:
    """A passage with its quote, whose place is that in the document."""

    found: FoundPassage
    quote: Quote


def quotable_passage(passage: IndexedPassage) -> PassageSpan:
    """Return the text of a passage to quote from."""
    return QuotableDocument(passage.source, passage.text, (SectionStart(0, passage.source, passage.page),)).whole()


def place_in_document(quote: Quote, passage: IndexedPassage) -> Quote:
    """Return a quote from the text of a passage with its place in the document."""
    lines = passage.first_line - 1
    return replace(
        quote,
        start=quote.start + passage.start,
        end=quote.end + passage.start,
        first_line=quote.first_line + lines,
        last_line=quote.last_line + lines,
    )
