"""Errors of the state between runs: jobs, calibrations, sessions, databases; the package has the tree."""

from __future__ import annotations

from collections.abc import Sequence

from llmcli.errors import BadDocument, ConfigError, InputError, MissingError, PartialError, UsageError

_VERB = "verb"
"""The part of a stored identity that holds the command."""


def name_differences(names: Sequence[str]) -> str:
    """Return what differs between two identities; with another command, everything else differs too."""
    return "command" if _VERB in names else ", ".join(names)


class JobMismatch(UsageError):
    """The job of the output ``subject`` was begun with other settings: those named in ``differences``."""

    def __init__(self, subject: str, differences: tuple[str, ...]) -> None:
        super().__init__(subject)
        self.differences = differences


class RetryRefused(UsageError):
    """The failed records of the output ``subject`` cannot be processed again: ``reason``."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(subject)
        self.reason = reason


class PartMismatch(UsageError):
    """The parts ``subject`` and ``other`` are not of the same job: ``differences`` are the names of what differs."""

    def __init__(self, subject: str, other: str, differences: tuple[str, ...]) -> None:
        super().__init__(subject)
        self.other = other
        self.differences = differences


class EarlierFailures(PartialError):
    """In earlier runs of a job, ``failed`` records failed, and ``incomplete`` results were cut.

    ``are_kept``: the records that failed have rows in the output.
    """

    def __init__(self, failed: int, incomplete: int, *, are_kept: bool) -> None:
        super().__init__(f"{failed} failed, {incomplete} incomplete")
        self.failed = failed
        self.incomplete = incomplete
        self.are_kept = are_kept


class DamagedCalibration(ConfigError):
    """The file of the calibration ``subject`` cannot be read; ``detail`` says why."""


class UnreadableState(MissingError):
    """The file or directory ``subject``, which llm keeps, cannot be read; ``detail`` is the system's message."""

    exit_code = 77

    def __init__(self, subject: str, *, detail: str = "") -> None:
        super().__init__(subject, kind="place", detail=detail)


class DamagedState(BadDocument):
    """The file ``subject``, which llm keeps (a log, chats, an index), is damaged; ``detail`` gives the reason."""

    exit_code = 78


class TooFewLabels(InputError):
    """The labelled rows of ``subject`` are too few for a calibration; ``detail`` says what is missing."""
