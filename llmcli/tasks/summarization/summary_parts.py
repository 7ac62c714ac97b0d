"""The parts of a text that is summarized in stages: their attempts, and the document lines that each covers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from llmcli.documents.reading.large_text import count_line_ends
from llmcli.documents.segments import LineNumbers
from llmcli.frozen_dataclass import field, frozen, replace, slotted
from llmcli.tasks.execution.response_buffer import ResponseBuffer, is_empty, require_finished
from llmcli.tasks.execution.task_requests import GenerationOptions, make_retry
from llmcli.text_stream import REPETITION_LIMIT
from llmcli.types import FinishReason, Request

MAX_PART_ATTEMPTS = 2
"""Attempts at a part with an empty or cut answer."""
_SEPARATOR = "\n\n"
"""Separates the summaries in the text of the next stage."""

PartProblem = Literal["empty", "cut"]


@frozen
class DocumentRange:
    """A range of a document: offsets, and the first and the last line (from 1)."""

    start: int
    end: int
    first_line: int
    last_line: int


@slotted
class SummaryPart:
    """A piece of a stage's text and its answer; ``covered``: the range of the document that it is about."""

    covered: DocumentRange
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
        self._first_response = None
        return None

    def drop_request_text(self) -> None:
        """Drop the text of the request, which was answered, so that long documents are not kept twice."""
        self.request = replace(self.request, messages=())

    def _make_retry(self, options: GenerationOptions) -> Request | None:
        again = make_retry(self.request, options)
        limit = self.request.max_tokens
        finished = require_finished(self.response)
        by_limit = finished.reason is FinishReason.LENGTH and finished.limit != REPETITION_LIMIT
        if by_limit and limit is not None:
            again = replace(again or self.request, id=f"{self.request.id}.again", max_tokens=2 * limit)
        return again


_PROBLEM_RANKS: dict[PartProblem | None, int] = {None: 0, "cut": 1, "empty": 2}


def _find_part_problem(answer: ResponseBuffer) -> PartProblem | None:
    if is_empty(answer):
        return "empty"
    return "cut" if require_finished(answer).reason is FinishReason.LENGTH else None


@frozen
class StageText:
    """The text of a stage; ``origins``: (the end of a range of it, the range of the document that it covers)."""

    text: str
    origins: tuple[tuple[int, DocumentRange], ...] = ()

    @classmethod
    def join_summaries(cls, parts: Iterable[SummaryPart]) -> StageText:
        """Return the text of the next stage: the summaries that are not empty."""
        texts: list[str] = []
        origins: list[tuple[int, DocumentRange]] = []
        at = 0
        for part in parts:
            text = part.response.text.strip()
            if text:
                at += len(text) + len(_SEPARATOR)
                texts.append(text)
                origins.append((at, part.covered))
        return cls(_SEPARATOR.join(texts), tuple(origins))

    def locate_pieces(self, pieces: Iterable[str]) -> list[tuple[slice, DocumentRange]]:
        """Return where the pieces of the text stand, without blank ones, and the range of the document of each."""
        placed, at, line = [], 0, 1
        for piece in pieces:
            words = piece.strip()
            if words:
                leading = len(piece) - len(piece.lstrip())
                start, first_line = at + leading, line + count_line_ends(piece[:leading])
                whole = DocumentRange(start, start + len(words), first_line, first_line + count_line_ends(words))
                placed.append((slice(at, at + len(piece)), self._find_document_range(whole) if self.origins else whole))
            at += len(piece)
            line += count_line_ends(piece)
        return placed

    def _find_document_range(self, piece: DocumentRange) -> DocumentRange:
        """Return the range of the document that a range of this text covers."""
        begins = [0, *(end for end, _ in self.origins[:-1])]
        touched = [
            covered
            for begin, (end, covered) in zip(begins, self.origins, strict=True)
            if begin < piece.end and piece.start < end
        ]
        first, last = min(touched, key=lambda each: each.start), max(touched, key=lambda each: each.end)
        return DocumentRange(first.start, last.end, first.first_line, last.last_line)


def share_read(parts: Sequence[SummaryPart]) -> float:
    """Return the share of the parts' tokens that a call with an answer has read.

    A server that reports no tokens leaves the characters.
    """
    sizes = [require_finished(part.response).usage.prompt_tokens for part in parts]
    if not all(sizes):
        sizes = [part.covered.end - part.covered.start for part in parts]
    read = sum(size for size, part in zip(sizes, parts, strict=True) if part.problem != "empty")
    return round(read / max(1, sum(sizes)), 6)


def line_range(document: str, offsets: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last line (from 1) of a range in a document."""
    numbers = LineNumbers(document)
    return numbers.line_at(offsets[0]), numbers.line_at(offsets[1] - 1)
