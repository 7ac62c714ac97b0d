"""Why a job of records does not go on."""

from __future__ import annotations

from llmcli.errors import CannotCreate, UsageError


class JobMismatch(UsageError):
    """The job of the output ``subject`` was begun with other settings: those named in ``differences``."""

    def __init__(self, subject: str, differences: tuple[str, ...]) -> None:
        super().__init__(subject)
        self.differences = differences


class UnfinishedJob(CannotCreate):
    """The output ``subject`` has an unfinished job with ``done`` records, and no option says that it goes on."""

    def __init__(self, subject: str, done: int) -> None:
        super().__init__(subject, exists=True)
        self.done = done
