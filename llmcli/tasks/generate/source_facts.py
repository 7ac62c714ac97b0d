"""Facts of the sources of a long text: sentences for its sections, and those that have the numbers of a sentence.

A fact is a quote: a sentence of a source as it stands there, with its place. No model chooses it, so that it costs no
token: sentences are ranked by BM25.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from llmcli.documents.reading.document import Document
from llmcli.documents.sentences import find_sentences
from llmcli.fast_dataclass import frozen
from llmcli.interrupt import check_interrupt
from llmcli.store.passage_index import searched_text
from llmcli.store.word_ranking import STOP_WORDS, WordRanking
from llmcli.tasks.claim_verification.claim_terms import figure_forms, find_terms
from llmcli.tasks.generate.figures import (
    find_figures,
    known_figures,
    missing_figures,
    supporting_forms,
    without_unit,
)
from llmcli.tasks.generate.sentence_forms import SentenceSet
from llmcli.tasks.quotes.quotable_text import QuotableDocument, Quote
from llmcli.tasks.quotes.quote_grammar import MAX_QUOTATION_CHARACTERS, MIN_QUOTATION_WORDS, count_quoted_words
from llmcli.tasks.retrieval.passage_cutter import cut_document

_PER_POINT = 2
_MAX_FACTS = 6
"""Of a section: more would take longer to read than the section takes to write."""
_MIN_COMMON = 2
"""Words that a sentence and a quote that it cites have in common, where the model has chosen the quote."""
_MIN_MORE = 2
"""Words more that a sentence has in common with a quote that has another number than with the one that has its own."""
_MIN_COVERED = 0.6
"""Share of the words of a sentence in a quote, from which it cites the quote although the model does not say so."""
_PROSE = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]*_`]{0,3}\Z")


class SourceFacts:
    """The sentences of ``documents``."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = documents
        self._quotes: list[Quote] = []
        self._terms: list[frozenset[str]] = []
        self._known: list[frozenset[str]] = []
        self._with_number: dict[str, list[int]] = {}
        self._ranking = WordRanking()
        for number, document in enumerate(documents):
            check_interrupt()
            for quote, headings in _iter_quotes(document, number):
                self._add(quote, headings)

    def _add(self, quote: Quote, headings: Sequence[str]) -> None:
        number = len(self._quotes)
        self._quotes.append(quote)
        self._terms.append(content_terms(quote.text))
        self._known.append(known_figures(quote.text))
        for form in frozenset[str]().union(*map(figure_forms, self._known[-1])):
            self._with_number.setdefault(form, []).append(number)
        if _is_fact(quote.text):
            self._ranking.add(number, searched_text(quote.text, headings))

    def __bool__(self) -> bool:
        return bool(self._quotes)

    def search(self, queries: Iterable[str], limit: int = _MAX_FACTS, *, each: int = _PER_POINT) -> list[Quote]:
        """Return the quotes that rank highest for the queries, at most ``each`` for one; no two say the same."""
        said = SentenceSet()
        found: list[Quote] = []
        for query in queries:
            taken = 0
            for number in self._ranking.search(query, each + limit):
                quote = self._quotes[number]
                if taken < each and len(found) < limit and said.add(quote.line):
                    found.append(quote)
                    taken += 1
        return found

    def find_number(self, number: str, sentence: str) -> Quote | None:
        """Return the sentence with a number that has most words in common with ``sentence``; None if none has any."""
        terms = content_terms(sentence)
        places = {place for form in supporting_forms(number) for place in self._with_number.get(form, ())}
        fitting = [place for place in sorted(places) if not missing_figures([number], self._known[place])]
        best = max(fitting, key=lambda each: len(terms & self._terms[each]), default=None)
        return None if best is None or not terms & self._terms[best] else self._quotes[best]

    @cached_property
    def known(self) -> frozenset[str]:
        """All figures of the sentences."""
        return frozenset[str]().union(*self._known)

    def texts(self) -> Iterator[str]:
        """Yield the sentences."""
        return (quote.text for quote in self._quotes)


def _iter_quotes(document: Document, number: int) -> Iterator[tuple[Quote, Sequence[str]]]:
    places = QuotableDocument.from_document(document, number)
    for passage in cut_document(document):
        for start, end in find_sentences(passage.text):
            yield places.quote(passage.start + start, passage.start + end), passage.headings


def _is_fact(text: str) -> bool:
    """Whether a sentence can be given to the model: prose that is neither a heading nor too long to be quoted."""
    return (
        _PROSE.search(text) is not None
        and count_quoted_words(text) >= MIN_QUOTATION_WORDS
        and len(text) <= MAX_QUOTATION_CHARACTERS
    )


def has_figure(text: str, figure: str) -> bool:
    """Whether a number or date of a sentence stands in a text."""
    return not missing_figures([figure], known_figures(text))


def content_terms(text: str) -> frozenset[str]:
    """Return the words of a text, apart from those of any text and from numbers."""
    return frozenset(term for term in find_terms(text) if term not in STOP_WORDS and not term.isdigit())


@frozen
class CitedSentence:
    """The quotes that a sentence cites, and its numbers that stand in no source, or belong to something else there.

    ``misplaced`` has each of the latter with the quote that says most of what the sentence says, with another number.
    """

    quotes: tuple[Quote, ...]
    unfounded: tuple[str, ...]
    misplaced: tuple[tuple[str, Quote], ...] = ()


def cite_sentence(
    sentence: str,
    marked: Sequence[Quote],
    facts: Sequence[Quote],
    sources: SourceFacts,
    known: frozenset[str],
    num_items: int = 0,
) -> CitedSentence:
    """Return what a sentence without marks cites: quotes that have its numbers, else one that says what it says.

    ``marked`` are the quotes that the model named, ``facts`` those that it was given. Numbers that are ``known`` need
    no source: the user wrote them. ``num_items`` items of a list follow the sentence.
    """
    terms, numbers = content_terms(sentence), find_figures(sentence, num_items)
    chosen: dict[tuple[str, int], Quote] = {}
    unfounded: list[str] = []
    misplaced: list[tuple[str, Quote]] = []
    for number in sorted(numbers):
        if any(has_figure(quote.text, number) for quote in chosen.values()):
            continue
        near = [quote for quote in [*marked, *facts] if has_figure(quote.text, number)]
        related = [quote for quote in near if terms & content_terms(quote.text)]
        quote = max(related, key=lambda each: len(terms & content_terms(each.text)), default=None)
        quote = quote or sources.find_number(number, sentence)
        if quote is not None:
            chosen[quote.source, quote.start] = quote
            rival = _find_rival(terms, numbers, quote, facts)
            misplaced += [(number, rival)] if rival is not None else []
        elif missing_figures([number], known):
            bare = without_unit(number)
            unfounded.append(bare if missing_figures([bare], known | sources.known) else number)
    if not numbers:
        for quote in marked:
            if len(terms & content_terms(quote.text)) >= _MIN_COMMON:
                chosen[quote.source, quote.start] = quote
        if not chosen and terms:
            best = max(facts, key=lambda each: len(terms & content_terms(each.text)), default=None)
            if best is not None and len(terms & content_terms(best.text)) >= _MIN_COVERED * len(terms):
                chosen[best.source, best.start] = best
    return CitedSentence(tuple(chosen.values()), tuple(unfounded), tuple(misplaced))


def _find_rival(terms: frozenset[str], numbers: frozenset[str], quote: Quote, facts: Sequence[Quote]) -> Quote | None:
    """Return the fact with other numbers that says much more of a sentence than the quote with its number, or None."""
    others = [
        each
        for each in facts
        if find_figures(each.text) and missing_figures(numbers, known_figures(each.text)) == numbers
    ]
    best = max(others, key=lambda each: len(terms & content_terms(each.text)), default=None)
    if best is None:
        return None
    more = len(terms & content_terms(best.text)) - len(terms & content_terms(quote.text))
    return best if more >= _MIN_MORE else None
