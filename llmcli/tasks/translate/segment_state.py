"""The state of each segment while its document is translated, and the report of its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from llmcli.documents.segments import Segment
from llmcli.fast_dataclass import asdict, field, frozen, slotted
from llmcli.tasks.translate.segment_translation import SegmentTranslation


class SegmentStatus(StrEnum):
    """The origin of a segment's text in the output."""

    TRANSLATED = "translated"
    REPEATED = "repeated"  # from an earlier segment with the same text
    MEMORY = "memory"
    UPDATE = "update"  # from the earlier translation that --update names
    EXISTING = "existing"  # the document held a translation
    UNTRANSLATED = "untranslated"


_OPTIONAL_FIELDS = {"part", "suspicion", "surprisal"}
"""The fields of an outcome that its row of the report lacks if they say nothing."""


@frozen
class SegmentOutcome:
    """A segment: ``line`` from 1, in ``part`` of an archive; ``checks``: problems of answers, or of the final one.

    ``suspicion`` and ``surprisal``: as in ``quality``, None if they were not estimated.
    """

    line: int
    kind: str
    status: SegmentStatus
    source: str
    translation: str | None
    retries: int = 0
    checks: tuple[str, ...] = ()
    suspicion: float | None = None
    surprisal: float | None = None
    part: str = ""


@slotted
class SegmentState:
    """The state of a segment; it is ``done`` when its text in the output is final.

    ``answer`` is what came of the model's attempts, None while it works and if it is not asked.
    """

    segment: Segment
    status: SegmentStatus = SegmentStatus.TRANSLATED
    translation: str | None = None
    done: bool = True
    answer: SegmentTranslation | None = None
    repeated_index: int | None = None
    """The earlier segment with the same text."""
    problems: tuple[str, ...] = field(default=())

    @property
    def is_untranslated(self) -> bool:
        """Whether no valid translation of it was found."""
        return self.status is SegmentStatus.UNTRANSLATED

    def finish(self, answer: SegmentTranslation) -> None:
        """Take over what came of the model's attempts."""
        self.answer, self.problems, self.translation = answer, answer.problems, answer.translation
        if answer.translation is None:
            self.status = SegmentStatus.UNTRANSLATED
        self.done = True

    def copy_outcome(self, original: SegmentState) -> None:
        """Copy the outcome of a segment with the same text."""
        self.translation, self.problems = original.translation, original.problems
        if original.is_untranslated:
            self.status = SegmentStatus.UNTRANSLATED

    def revert(self, problem: str) -> None:
        """Leave it untranslated: it is damaged, or its translation would make the document invalid."""
        self.status, self.translation, self.problems = SegmentStatus.UNTRANSLATED, None, (problem,)

    def outcome(self, line: int) -> SegmentOutcome:
        """Return its row of the report; it begins in ``line``."""
        existing = self.status is SegmentStatus.EXISTING
        return SegmentOutcome(
            line,
            self.segment.kind,
            self.status,
            self.segment.text,
            self.segment.existing_translation if existing else self.translation,
            max(0, self.answer.attempts - 1) if self.answer else 0,
            self.problems,
            part=self.segment.part,
        )


def count_statuses(outcomes: Sequence[SegmentOutcome]) -> dict[str, int]:
    """Return how many segments have each status that occurs."""
    found = [row.status for row in outcomes]
    return {str(status): found.count(status) for status in SegmentStatus if status in found}


@slotted
class TranslationReport:
    """The rows of each item."""

    outcomes: dict[int, list[SegmentOutcome]] = field(default_factory=dict)

    def to_json(self, item: int) -> list[dict[str, Any]]:
        """Return the rows of an item as JSON."""
        return [_row_as_object(row) for row in self.outcomes.get(item, [])]


def _row_as_object(row: SegmentOutcome) -> dict[str, Any]:
    fields = asdict(row) | {"status": str(row.status)}
    return {name: value for name, value in fields.items() if name not in _OPTIONAL_FIELDS or value not in {None, ""}}
