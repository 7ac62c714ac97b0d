"""The references of an answer: which passages it cites, and where these stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from llmcli.frozen_dataclass import frozen
from llmcli.store.passage_index import IndexedPassage
from llmcli.tasks.quotation.quotable_text import Quote

UNANSWERED = "Not in these documents."
"""What the prompt asks for where the documents do not answer the question."""
_UNANSWERED = re.compile(r"\W*not in (?:these|the) (?:documents|passages)\b", re.IGNORECASE)
_CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")


@frozen
class Reference:
    """Passage ``number`` of an answer, from 1. ``cited``: the answer names it.

    ``quote`` is what the passage says in its own words, None without one.
    """

    number: int
    passage: IndexedPassage
    cited: bool = False
    quote: Quote | None = None

    def as_fields(self) -> dict[str, Any]:
        """Return the object of ``--json``: offsets are in characters of the document's text."""
        passage = self.passage
        return {
            "number": self.number,
            "cited": self.cited,
            "file": passage.path,
            "source": passage.source,
            "page": passage.page,
            "first_line": passage.first_line,
            "last_line": passage.last_line,
            "start": passage.start,
            "end": passage.start + len(passage.text),
            "headings": list(passage.headings),
            **({} if self.quote is None else {"quote": self.quote.to_json()}),
        }


def is_answered(answer: str) -> bool:
    """Whether an answer is not the sentence for what the documents do not say."""
    return _UNANSWERED.match(answer) is None


def cited_numbers(answer: str) -> set[int]:
    """Return the numbers that an answer cites: of "[1]", and of "[1, 2]"."""
    return {int(number) for group in _CITATION.findall(answer) for number in re.findall(r"\d+", group)}


def find_references(answer: str, passages: Sequence[IndexedPassage]) -> list[Reference]:
    """Return a reference for each of the ``passages`` that an answer was written from, in their order."""
    cited = cited_numbers(answer)
    return [Reference(number, each, number in cited) for number, each in enumerate(passages, 1)]


def unknown_citations(answer: str, references: Sequence[Reference]) -> list[str]:
    """Return a warning for each cited number that is that of no passage."""
    unknown = sorted(cited_numbers(answer) - {each.number for each in references})
    return [f"the answer cites [{number}], which is no passage" for number in unknown]
