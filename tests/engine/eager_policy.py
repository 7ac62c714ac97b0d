"""A policy for tests that drafts whatever the times are, so that the machine's load decides nothing."""

from __future__ import annotations

from llmcli.engine.model_drafter import DraftPolicy


class EagerPolicy(DraftPolicy):
    """Always drafts, ``count`` tokens at once."""

    count = 5
    outcomes: list = []  # noqa: RUF012 (each test makes its own class)
    is_timed = True
    is_calibrated = True

    def __init__(self) -> None:
        super().__init__()
        self._drafted = 0

    @property
    def may_draft(self):
        self._drafted = 0
        return True

    def reading_window(self, missing):
        return missing

    def is_worth_drafting(self, joint):
        del joint
        self._drafted += 1
        return self._drafted < self.count

    def is_worth_evaluating(self, joint):
        del joint
        return True

    def record_plain_step(self, seconds): ...
    def record_draft_token(self, seconds): ...
    def record_reading(self, tokens, seconds): ...

    def record_outcome(self, outcome):
        self.outcomes.append(outcome)
