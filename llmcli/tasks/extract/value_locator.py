"""Finds values in a passage: texts, numbers and dates, with their quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from llmcli.documents.sentences import UNSPACED_CHARACTERS
from llmcli.fast_dataclass import frozen
from llmcli.tasks.extract.value_candidates import Candidate, find_dates, find_numbers
from llmcli.tasks.quotes.quotable_text import PassageSpan, Quote
from llmcli.tasks.quotes.quote_alignment import QuoteAligner

MIN_SIMILARITY = 0.9
"""Of a value without a grammar to the words of the passage that are taken instead."""
_LETTER = f"[^\\W{UNSPACED_CHARACTERS}]"
VALUE_WORD = re.compile(
    f"[{UNSPACED_CHARACTERS}]|{_LETTER}+(?:(?:[.'\u2019@_&+-]|(?<=\\d)[,:/](?=\\d)){_LETTER}+)*|\\S"
)
"""A part of a text that a value holds as a whole: words without the marks around them, numbers with those inside."""
EDGE_MARKS = r",;:!?)\]}|"
"""Marks with which no text value begins, for a regular expression in brackets."""
LAST_MARKS = r",;:(\[{|"


@frozen
class ValueLocator:
    """Finds values in ``passage``."""

    passage: PassageSpan

    @cached_property
    def numbers(self) -> Sequence[Candidate]:
        """The numbers of the passage, in its order."""
        return find_numbers(self.passage.text)

    @cached_property
    def dates(self) -> Sequence[Candidate]:
        """The dates of the passage, in its order."""
        return find_dates(self.passage.text)

    @cached_property
    def _aligner(self) -> QuoteAligner:
        return QuoteAligner(self.passage.text, VALUE_WORD)

    @cached_property
    def _first_numbers(self) -> Mapping[float, Candidate]:
        return {each.value: each for each in reversed(self.numbers) if not isinstance(each.value, str)}

    @cached_property
    def _first_dates(self) -> Mapping[str, Candidate]:
        return {each.value: each for each in reversed(self.dates) if isinstance(each.value, str)}

    def locate_text(self, words: str, *, exact: bool) -> Quote | None:
        """Return the first place of a text; unless ``exact``, also of one that differs in case and marks."""
        return self.passage.quote_alignment(self._aligner.align(words, 1.0 if exact else MIN_SIMILARITY))

    def locate_number(self, value: float) -> Quote | None:
        """Return the first place of a number."""
        found = self._first_numbers.get(value)
        return None if found is None else self._quote(found)

    def locate_date(self, value: str) -> tuple[Quote, bool] | None:
        """Return the first place of a date (YYYY-MM-DD), and whether that may mean another one as well."""
        found = self._first_dates.get(value)
        return None if found is None else (self._quote(found), found.ambiguous)

    def _quote(self, candidate: Candidate) -> Quote:
        return self.passage.document.quote(self.passage.start + candidate.start, self.passage.start + candidate.end)
