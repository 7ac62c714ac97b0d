"""Why a job of records does not go on."""

from __future__ import annotations

from llmcli.errors import CannotCreate, PartialError, UsageError


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


class RetryRefused(UsageError):
    """The failed records of the output ``subject`` cannot be processed again: ``reason``."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(subject)
        self.reason = reason


class EarlierFailures(PartialError):
    """In earlier runs of a job, ``failed`` records failed, and ``incomplete`` results were cut.

    ``are_kept``: the records that failed have rows in the output.
    """

    def __init__(self, failed: int, incomplete: int, *, are_kept: bool) -> None:
        super().__init__(f"{failed} failed, {incomplete} incomplete")
        self.failed = failed
        self.incomplete = incomplete
        self.are_kept = are_kept
