"""The parts of a text that is summarized in stages: their attempts, and the document lines that each covers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from llmcli.documents.segments import LineNumbers
from llmcli.frozen_dataclass import field, frozen, replace, slotted
from llmcli.tasks.execution.response_buffer import ResponseBuffer, is_empty, require_finished
from llmcli.tasks.execution.task_requests import GenerationOptions, make_retry
from llmcli.types import FinishReason, Request

MAX_PART_ATTEMPTS = 2
"""Attempts at a part with an empty or cut answer."""
_SEPARATOR = "\n\n"
"""Separates the summaries in the text of the next stage."""

PartProblem = Literal["empty", "cut"]


@slotted
class SummaryPart:
    """A piece of a stage's text and its answer; ``start`` and ``end``: the offsets in the document that it covers."""

    start: int
    end: int
    request: Request
    response: ResponseBuffer = field(default_factory=ResponseBuffer)
    done: bool = False
    _attempts: int = 1
    _first_response: ResponseBuffer | None = None

    @property
    def problem(self) -> PartProblem | None:
        """What is wrong with the answer; None if it is complete."""
        return _find_part_problem(self.response)

    def finish_attempt(self, options: GenerationOptions) -> Request | None:
        """Return the request for a retry if the finished answer is empty or cut; None for no retry.

        After a cut answer the second attempt may be twice as long. If both are cut, the first one counts: the longer
        one may be no shorter than the text that it summarizes.
        """
        again = self._make_retry(options) if self.problem and self._attempts < MAX_PART_ATTEMPTS else None
        if again is not None:
            self._first_response, self.response, self.request = self.response, ResponseBuffer(), again
            self._attempts += 1
            return again
        if (
            self._first_response is not None
            and _PROBLEM_RANKS[self.problem] >= _PROBLEM_RANKS[_find_part_problem(self._first_response)]
        ):
            self.response = self._first_response
        self.done = True
        return None

    def _make_retry(self, options: GenerationOptions) -> Request | None:
        again = make_retry(self.request, options)
        limit = self.request.max_tokens
        if require_finished(self.response).reason is FinishReason.LENGTH and limit is not None:
            again = replace(again or self.request, id=f"{self.request.id}.again", max_tokens=2 * limit)
        return again


_PROBLEM_RANKS: dict[PartProblem | None, int] = {None: 0, "cut": 1, "empty": 2}


def _find_part_problem(answer: ResponseBuffer) -> PartProblem | None:
    if is_empty(answer):
        return "empty"
    return "cut" if require_finished(answer).reason is FinishReason.LENGTH else None


@frozen
class StageText:
    """The text of a stage; ``origins``: (the end of a range of it, the offsets in the document that it covers)."""

    text: str
    origins: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def join_summaries(cls, parts: Iterable[SummaryPart]) -> StageText:
        """Return the text of the next stage: the summaries that are not empty."""
        texts: list[str] = []
        origins: list[tuple[int, int, int]] = []
        at = 0
        for part in parts:
            text = part.response.text.strip()
            if text:
                at += len(text) + len(_SEPARATOR)
                texts.append(text)
                origins.append((at, part.start, part.end))
        return cls(_SEPARATOR.join(texts), tuple(origins))

    def locate_pieces(self, pieces: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
        """Return the pieces of the text without blank ones, with the document offsets that each covers."""
        placed, at = [], 0
        for piece in pieces:
            if piece.strip():
                start = at + len(piece) - len(piece.lstrip())
                placed.append((piece, self._document_range(start, at + len(piece.rstrip()))))
            at += len(piece)
        return placed

    def _document_range(self, start: int, end: int) -> tuple[int, int]:
        if not self.origins:  # the text is the document
            return start, end
        begins = [0, *(origin[0] for origin in self.origins[:-1])]
        touched = [
            origin for begin, origin in zip(begins, self.origins, strict=True) if begin < end and start < origin[0]
        ]
        return min(origin[1] for origin in touched), max(origin[2] for origin in touched)


def share_read(parts: Sequence[SummaryPart]) -> float:
    """Return the share of the parts' tokens that a call with an answer has read.

    A server that reports no tokens leaves the characters.
    """
    sizes = [require_finished(part.response).usage.prompt_tokens for part in parts]
    if not all(sizes):
        sizes = [part.end - part.start for part in parts]
    read = sum(size for size, part in zip(sizes, parts, strict=True) if part.problem != "empty")
    return round(read / max(1, sum(sizes)), 6)


def line_range(document: str, offsets: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last line (from 1) of a range in a document."""
    numbers = LineNumbers(document)
    return numbers.line_at(offsets[0]), numbers.line_at(offsets[1] - 1)
