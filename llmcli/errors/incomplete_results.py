"""The errors of incomplete results. A task puts one of these errors into its ``Result``; the package has the tree.

``EmptyAnswer``, ``AnswerRefused``, ``NoLabelAnswered`` and ``CostLimitReached`` end an item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from llmcli.errors import InputError, LlmError, PartialError, RemoteError
from llmcli.fast_dataclass import frozen


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


class NoCodeBlock(InvalidAnswer):
    """An answer has no code block, which --extract asks for."""

    def __init__(self) -> None:
        super().__init__("answer")


class WrongSummaryForm(InvalidAnswer):
    """The summary of ``subject`` is not in the form of its style; ``detail`` ends "the summary ...", and says why."""


class DoubtfulTranslations(PartialError):
    """``doubtful`` of ``total`` translations say something else when they are translated back."""

    def __init__(self, *, doubtful: int, total: int) -> None:
        super().__init__()
        self.doubtful = doubtful
        self.total = total


class IncompleteOutput(PartialError, type_name="LeftUndone"):
    """``unfinished`` of ``total`` segments are unchanged; ``limited``: a limit set by the user cut their answers."""

    def __init__(self, *, unfinished: int, total: int, limited: bool = False) -> None:
        super().__init__()
        self.unfinished = unfinished
        self.total = total
        self.limited = limited


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


class PartsMissing(PartialError):
    """The summary of ``subject`` lacks ``parts`` of it."""

    def __init__(self, subject: str, parts: tuple[MissingPart, ...]) -> None:
        super().__init__(subject)
        self.parts = parts


class ValuesMissing(PartialError):
    """Values of the document ``subject`` may be missing: those of ``parts`` of it, and ``left_out`` incomplete ones."""

    def __init__(self, subject: str, parts: tuple[MissingPart, ...], left_out: int = 0) -> None:
        super().__init__(subject)
        self.parts = parts
        self.left_out = left_out


class QueryFailed(PartialError):
    """The model's last SQL statement ``subject`` does not answer the question either; ``detail`` says why."""


class RowsOmitted(PartialError):
    """An SQL query has more rows than the first ``limit``, or than fit the limit of bytes."""

    def __init__(self, *, limit: int) -> None:
        super().__init__()
        self.limit = limit


class ValuesNotRestored(PartialError):
    """Of the private values that were replaced before sending, those of ``placeholders`` could not be put back."""

    def __init__(self, subject: str, placeholders: tuple[str, ...]) -> None:
        super().__init__(subject)
        self.placeholders = placeholders


class PointsUnsupported(PartialError):
    """All ``total`` points of the summary of ``subject`` were left out, since its words do not support them."""

    def __init__(self, subject: str, *, total: int) -> None:
        super().__init__(subject)
        self.total = total


class ProblemsInText(PartialError):
    """The long text ``subject`` has ``count`` problems, which warnings have named."""

    def __init__(self, subject: str, *, count: int) -> None:
        super().__init__(subject)
        self.count = count


class QuestionsMissing(PartialError):
    """Only ``found`` of ``wanted`` questions could be made of ``looked_at`` sentences.

    ``reasons``: why others were dropped.
    """

    def __init__(self, *, found: int, wanted: int, looked_at: int, reasons: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__()
        self.found = found
        self.wanted = wanted
        self.looked_at = looked_at
        self.reasons = tuple(reasons)
