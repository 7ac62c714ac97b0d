"""The report: the outcome of each segment."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from llmcli.frozen_dataclass import asdict, field, frozen, slotted


class SegmentStatus(StrEnum):
    """The origin of a segment's text in the output."""

    TRANSLATED = "translated"
    REPEATED = "repeated"  # from an earlier segment with the same text
    MEMORY = "memory"
    UPDATE = "update"  # from the earlier translation that --update names
    EXISTING = "existing"  # the document held a translation
    UNTRANSLATED = "untranslated"


@frozen
class SegmentOutcome:
    """A segment: ``line`` from 1; ``checks`` are the problems of answers, of the final one if it is untranslated.

    ``suspicion`` and ``surprisal``: as in ``quality_estimation``, None if they were not estimated.
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
    if row.surprisal is None:
        del fields["suspicion"], fields["surprisal"]
    return fields
