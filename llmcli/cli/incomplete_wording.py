"""The words for results that are not whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmcli import incomplete as i

_LARGER = "a larger model may do better: llm models list"
_NAMED = 5
"""Ranges of lines that are named of those that are missing."""


def _empty(error: i.EmptyAnswer) -> tuple[str, str]:
    if error.limit is None:
        return "the model gave an empty answer", f"Try again, or say it in other words; {_LARGER}"
    return "the model came to a limit before it answered", _raise_limit(error.limit)


def _raise_limit(limit: str | None) -> str:
    """Return what helps against a limit; against that of the context ``context_advice`` knows more."""
    return "Shorten the input." if limit == "context" else "Raise it with --max-tokens."


def _left(error: i.LeftUndone) -> tuple[str, str]:
    segments = f"segment{'' if error.total == 1 else 's'}"
    were = "was" if error.left == 1 else "were"
    advice = "raise --max-tokens, or leave it out" if error.limited else _LARGER
    return f"{error.left} of {error.total} {segments} {were} left untranslated", f"The warnings say why; {advice}"


def _missing(error: i.PartsMissing) -> tuple[str, str]:
    document = "standard input" if error.subject == "-" else error.subject
    said = []
    for reason, words in (("empty", "missing from the summary"), ("cut", "summarized only in part")):
        parts = [part for part in error.parts if part.reason == reason]
        if parts:
            one = len(parts) == 1 and parts[0].first_line == parts[0].last_line
            where = f"line{'' if one else 's'} {_lines(parts)} of {document}{_numbers(parts)}"
            said.append(f"{where} {'is' if one else 'are'} {words}")
    return "; ".join(said), _LARGER[0].upper() + _LARGER[1:]


def _lines(parts: Sequence[i.MissingPart]) -> str:
    """Return "1 to 20, 41 to 60"."""
    ranges = [f"{p.first_line} to {p.last_line}" if p.first_line != p.last_line else str(p.first_line) for p in parts]
    return ", ".join(ranges[:_NAMED]) + _more(parts)


def _numbers(parts: Sequence[i.MissingPart]) -> str:
    """Return " (parts 1, 3 of 5)"; the parts of later stages are no parts of the document."""
    if any(part.stage for part in parts):
        return ""
    numbers = ", ".join(str(part.part) for part in parts[:_NAMED])
    return f" (part{'s' if len(parts) > 1 else ''} {numbers}{_more(parts)} of {parts[0].parts})"


def _more(parts: Sequence[i.MissingPart]) -> str:
    return f" and {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""


WORDS: dict[type[Any], Callable[[Any], tuple[str, str]]] = {
    i.EmptyAnswer: _empty,
    i.AnswerCut: lambda x: ("the answer was cut at a limit", _raise_limit(x.limit)),
    i.LeftUndone: _left,
    i.PartsMissing: _missing,
}
"""What happened, and what to do next, for each class."""
