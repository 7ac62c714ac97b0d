"""The state of a segment while its document is translated."""

from __future__ import annotations

from llmcli.documents.segments import Segment
from llmcli.frozen_dataclass import field, slotted
from llmcli.tasks.translation.per_file.translation_report import SegmentOutcome, SegmentStatus
from llmcli.tasks.translation.per_segment.segment_translation import SegmentTranslation


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
        """Leave it untranslated, since its translation would make the document invalid."""
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
        )
