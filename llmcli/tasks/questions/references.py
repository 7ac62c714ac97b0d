"""The references of an answer: which passages it cites, and where these stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmcli.store.retrieval.passage_index import IndexedPassage
from llmcli.types import Notice, Result, TaskEvent

UNANSWERED = "Not in these documents."
"""What the prompt asks for where the documents do not answer the question."""
_UNANSWERED = re.compile(r"\W*not in (?:these|the) (?:documents|passages)\b", re.IGNORECASE)
_CITATION = re.compile(r"\[(\d{1,4}(?:\s*[,;]\s*\d{1,4})*)\]")


@dataclass(frozen=True, slots=True)
class Reference:
    """Passage ``number`` of an answer, from 1. ``cited``: the answer names it.

    ``quote`` is what the passage says in its own words, "" without one.
    """

    number: int
    passage: IndexedPassage
    cited: bool = False
    quote: str = ""

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
            **({"quote": self.quote} if self.quote else {}),
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


def add_references(events: Iterator[TaskEvent], passages: Sequence[IndexedPassage]) -> Iterator[TaskEvent]:
    """Add the field ``references`` to the result in ``events``: a list, as ``Reference.as_fields`` returns them.

    A number that is that of no passage becomes a warning.
    """
    for event in events:
        if isinstance(event, Result):
            yield from _finish(event, passages)
        else:
            yield event


def _finish(result: Result, passages: Sequence[IndexedPassage]) -> Iterator[TaskEvent]:
    answer = result.text or ""
    references = find_references(answer, passages)
    unknown = sorted(cited_numbers(answer) - {each.number for each in references})
    warnings = [f"the answer cites [{number}], which is no passage" for number in unknown]
    yield from (Notice(warning, result.item) for warning in warnings)
    fields = {**result.fields, "references": [each.as_fields() for each in references]}
    yield replace(result, fields=fields, warnings=(*result.warnings, *warnings))
