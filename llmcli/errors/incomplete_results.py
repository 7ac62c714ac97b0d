"""The errors of incomplete results. A task puts one of these errors into its ``Result``; the package has the tree.

``EmptyAnswer``, ``AnswerRefused``, ``NoLabelAnswered`` and ``CostLimitReached`` end an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from llmcli.errors import InputError, LlmError, PartialError, RemoteError
from llmcli.fast_dataclass import frozen

LARGER_MODEL_ADVICE = "try a larger model: llm models list"
MAX_NAMED_PARTS = 5
"""Most missing ranges of lines that a message names."""


class EmptyAnswer(LlmError):
    """The model gave an empty answer about ``subject``; ``limit`` as in ``Finished`` if a limit left no room."""

    def __init__(self, subject: str = "", *, limit: str | None = None) -> None:
        super().__init__(subject)
        self.limit = limit


class AnswerRefused(InputError):
    """The model, or a filter of the server ``subject``, refuses to answer; ``detail`` is the reason that it gives."""


class NoLabelAnswered(RemoteError):
    """None of the answers of the server ``subject`` is one of the labels; ``detail`` is the first answer."""


class AnswerTruncated(PartialError, type_name="AnswerCut"):
    """A limit that the user did not set cut an answer; ``limit`` as in ``Finished``."""

    def __init__(self, *, limit: str | None = None) -> None:
        super().__init__()
        self.limit = limit


class RepetitionStopped(PartialError):
    """An answer repeated itself and was stopped."""


class CostLimitReached(PartialError):
    """A request was not sent: it could cost ``needed``, and ``left`` is left of ``limit``; amounts with currency."""

    def __init__(self, *, limit: str, needed: str, left: str) -> None:
        super().__init__()
        self.limit = limit
        self.needed = needed
        self.left = left


class ExtractionFailed(PartialError):
    """No values were taken from the document ``subject``, after several attempts; ``detail`` says why."""


class InvalidAnswer(PartialError):
    """An answer about ``subject`` was not of the required form, also after a retry; ``detail`` says why."""


@frozen
class MissingPart:
    """A part of a document that its summary omits, or covers only the start of (``reason`` "cut").

    In an extraction, ``reason`` is also "invalid" (no answer about it fits the schema), "absent" (values in the answer
    are not in the text) and "failed" (an error ended its requests).

    Lines count from 1; they are those of ``file`` if the summary is about several. ``part`` of ``parts`` in ``stage``:
    stage 0 is the document, later stages are summaries of parts.
    """

    first_line: int
    last_line: int
    part: int
    parts: int
    stage: int
    reason: Literal["empty", "cut", "invalid", "absent", "failed"]
    file: str = ""


def format_line_ranges(parts: Sequence[MissingPart]) -> str:
    """Return "1 to 20, 41 to 60"."""
    ranges = [*dict.fromkeys(_format_line_range(part) for part in parts)]  # many parts may be in one long line
    return ", ".join(ranges[:MAX_NAMED_PARTS]) + format_rest(ranges)


def _format_line_range(part: MissingPart) -> str:
    lines = str(part.first_line) if part.first_line == part.last_line else f"{part.first_line} to {part.last_line}"
    return f"{lines} of {part.file}" if part.file else lines


def format_part_numbers(parts: Sequence[MissingPart]) -> str:
    """Return " (parts 1, 3 of 5)"; "" for later stages, whose parts are not parts of the document."""
    if any(part.stage for part in parts):
        return ""
    numbers = ", ".join(str(part.part) for part in parts[:MAX_NAMED_PARTS])
    return f" (part{'s' if len(parts) > 1 else ''} {numbers}{format_rest(parts)} of {parts[0].parts})"


def format_rest(parts: Sequence[object]) -> str:
    """Return " and 3 more" for the parts that are not named."""
    return f" and {len(parts) - MAX_NAMED_PARTS} more" if len(parts) > MAX_NAMED_PARTS else ""


class PartsMissing(PartialError):
    """The summary of ``subject`` lacks ``parts`` of it."""

    def __init__(self, subject: str, parts: tuple[MissingPart, ...]) -> None:
        super().__init__(subject)
        self.parts = parts


class ValuesNotRestored(PartialError):
    """Of the private values that were replaced before sending, those of ``placeholders`` could not be put back."""

    def __init__(self, subject: str, placeholders: tuple[str, ...]) -> None:
        super().__init__(subject)
        self.placeholders = placeholders


class ProblemsInText(PartialError):
    """The long text ``subject`` has ``count`` problems, which warnings have named."""

    def __init__(self, subject: str, *, count: int) -> None:
        super().__init__(subject)
        self.count = count
