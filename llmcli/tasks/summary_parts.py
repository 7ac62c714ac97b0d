"""The parts of a text that is summarized in stages: their tries, and the lines of the document each is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from llmcli.documents.segments import LineNumbers
from llmcli.tasks.base import Answer, Options, ended, is_empty, second_try
from llmcli.types import FinishReason, Request

TRIES = 2
"""Tries of a part whose answer is empty or cut."""
_SEPARATOR = "\n\n"
"""Between the summaries that the next stage reads."""

Problem = Literal["empty", "cut"]


@dataclass(slots=True)
class Part:
    """A piece of a stage's text and its answer; ``start`` and ``end``: offsets in the document of what it is about."""

    start: int
    end: int
    request: Request
    answer: Answer = field(default_factory=Answer)
    done: bool = False
    _tries: int = 1
    _first: Answer | None = None

    @property
    def problem(self) -> Problem | None:
        """What is wrong with the answer; None where it is whole."""
        return _problem(self.answer)

    def end_try(self, options: Options) -> Request | None:
        """Return the request of another try where the answer that has ended is empty or cut; None where there is none.

        A cut answer may be twice as long at the second try. Where both are cut the first one counts: the longer one may
        be no shorter than what it summarizes.
        """
        again = self._again(options) if self.problem and self._tries < TRIES else None
        if again is not None:
            self._first, self.answer, self.request = self.answer, Answer(), again
            self._tries += 1
            return again
        if self._first is not None and _RANKS[self.problem] >= _RANKS[_problem(self._first)]:
            self.answer = self._first
        self.done = True
        return None

    def _again(self, options: Options) -> Request | None:
        again = second_try(self.request, options)
        limit = self.request.max_tokens
        if ended(self.answer).reason is FinishReason.LENGTH and limit is not None:
            again = replace(again or self.request, id=f"{self.request.id}.again", max_tokens=2 * limit)
        return again


_RANKS: dict[Problem | None, int] = {None: 0, "cut": 1, "empty": 2}


def _problem(answer: Answer) -> Problem | None:
    if is_empty(answer):
        return "empty"
    return "cut" if ended(answer).reason is FinishReason.LENGTH else None


@dataclass(frozen=True, slots=True)
class StageText:
    """The text of a stage; ``origins``: (where a stretch of it ends, the offsets in the document that it is about)."""

    text: str
    origins: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def joined(cls, parts: Iterable[Part]) -> StageText:
        """Return the text of the next stage: the summaries that are not empty."""
        texts: list[str] = []
        origins: list[tuple[int, int, int]] = []
        at = 0
        for part in parts:
            text = part.answer.text.strip()
            if text:
                at += len(text) + len(_SEPARATOR)
                texts.append(text)
                origins.append((at, part.start, part.end))
        return cls(_SEPARATOR.join(texts), tuple(origins))

    def placed(self, pieces: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
        """Return the pieces that the text was cut into, blank ones left out, with the offsets each is about."""
        placed, at = [], 0
        for piece in pieces:
            if piece.strip():
                start = at + len(piece) - len(piece.lstrip())
                placed.append((piece, self._place(start, at + len(piece.rstrip()))))
            at += len(piece)
        return placed

    def _place(self, start: int, end: int) -> tuple[int, int]:
        if not self.origins:  # it is the document
            return start, end
        begins = [0, *(origin[0] for origin in self.origins[:-1])]
        touched = [
            origin for begin, origin in zip(begins, self.origins, strict=True) if begin < end and start < origin[0]
        ]
        return min(origin[1] for origin in touched), max(origin[2] for origin in touched)


def line_range(document: str, place: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last line (from 1) of a place in a document."""
    numbers = LineNumbers(document)
    return numbers.at(place[0]), numbers.at(place[1] - 1)
