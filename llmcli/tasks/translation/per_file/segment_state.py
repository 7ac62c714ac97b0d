"""The state of a segment while its document is translated."""

from __future__ import annotations

from llmcli.documents.segments import Segment
from llmcli.frozen_dataclass import field, slotted
from llmcli.tasks.translation.per_file.translation_report import SegmentStatus
from llmcli.tasks.translation.per_segment.segment_job import SegmentJob


@slotted
class SegmentState:
    """The state of a segment; ``job`` while the model works on it."""

    segment: Segment
    status: SegmentStatus = SegmentStatus.TRANSLATED
    translation: str | None = None
    job: SegmentJob | None = None
    repeated_index: int | None = None
    """The earlier segment with the same text."""
    problems: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether its text in the output is final."""
        return self.job is None or self.job.done

    @property
    def is_untranslated(self) -> bool:
        """Whether no valid translation of it was found."""
        return self.status is SegmentStatus.UNTRANSLATED

    def copy_outcome(self, original: SegmentState) -> None:
        """Copy the outcome of a segment with the same text."""
        self.translation, self.problems = original.translation, original.problems
        if original.is_untranslated:
            self.status = SegmentStatus.UNTRANSLATED

    def revert(self, problem: str) -> None:
        """Leave it untranslated, since its translation would make the document invalid."""
        self.status, self.translation, self.problems = SegmentStatus.UNTRANSLATED, None, [problem]
