"""The parts of a text that is summarized in stages: their attempts, and the document lines that each covers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from llmcli.documents.text_lines import count_line_ends, line_at
from llmcli.frozen_dataclass import frozen, replace
from llmcli.tasks.runner.answers import Answer
from llmcli.tasks.runner.task_requests import GenerationOptions, make_retry
from llmcli.text_stream import REPETITION_LIMIT
from llmcli.types import FinishReason, Request

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


@frozen
class SummaryPart:
    """A piece of a stage's text, number ``number`` from 1, and its answer; ``covered``: the range of the document.

    ``problem`` is what is wrong with the answer, None if it is complete.
    """

    number: int
    covered: DocumentRange
    answer: Answer

    @property
    def problem(self) -> PartProblem | None:
        """What is wrong with the answer; None if it is complete."""
        return part_problem(self.answer)


PROBLEM_RANKS: Mapping[PartProblem | None, int] = {None: 0, "cut": 1, "empty": 2}


def part_problem(answer: Answer) -> PartProblem | None:
    """Return what is wrong with the answer about a part, None if it is complete."""
    if answer.is_empty:
        return "empty"
    return "cut" if answer.finished.reason is FinishReason.LENGTH else None


def retry_part(request: Request, answer: Answer, options: GenerationOptions) -> Request | None:
    """Return the request for a second attempt at a part; None if it would not differ.

    After a cut answer it may be twice as long.
    """
    again, finished, limit = make_retry(request, options), answer.finished, request.max_tokens
    by_limit = finished.reason is FinishReason.LENGTH and finished.limit != REPETITION_LIMIT
    if by_limit and limit is not None:
        again = replace(again or request, id=f"{request.id}.again", max_tokens=2 * limit)
    return again


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
            text = part.answer.text.strip()
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
    sizes = [part.answer.finished.usage.prompt_tokens for part in parts]
    if not all(sizes):
        sizes = [part.covered.end - part.covered.start for part in parts]
    read = sum(size for size, part in zip(sizes, parts, strict=True) if part.problem != "empty")
    return round(read / max(1, sum(sizes)), 6)


def line_range(document: str, offsets: tuple[int, int]) -> tuple[int, int]:
    """Return the first and the last line (from 1) of a range in a document."""
    return line_at(document, offsets[0]), line_at(document, offsets[1] - 1)
