"""Errors of the state between runs: jobs, calibrations, sessions, databases; the package has the tree."""

from __future__ import annotations

from llmcli.errors import BadDocument, CannotCreate, ConfigError, InputError, MissingError, PartialError, UsageError


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


class PartMismatch(UsageError):
    """The parts ``subject`` and ``other`` are not of the same job: ``differences`` are the names of what differs."""

    def __init__(self, subject: str, other: str, differences: tuple[str, ...]) -> None:
        super().__init__(subject)
        self.other = other
        self.differences = differences


class PartsIncomplete(MissingError):
    """Of ``count`` shards, those with the numbers ``missing`` have no part."""

    def __init__(self, missing: tuple[int, ...], count: int) -> None:
        super().__init__("a part", kind="part")
        self.missing = missing
        self.count = count


class UnfinishedPart(InputError):
    """The job of the part ``subject`` is not complete: ``done`` records are."""

    def __init__(self, subject: str, done: int) -> None:
        super().__init__(subject)
        self.done = done


class NotAPart(InputError):
    """The file ``subject`` has no index of a part beside it."""


class EarlierFailures(PartialError):
    """In earlier runs of a job, ``failed`` records failed, and ``incomplete`` results were cut.

    ``are_kept``: the records that failed have rows in the output.
    """

    def __init__(self, failed: int, incomplete: int, *, are_kept: bool) -> None:
        super().__init__(f"{failed} failed, {incomplete} incomplete")
        self.failed = failed
        self.incomplete = incomplete
        self.are_kept = are_kept


class CalibrationMismatch(ConfigError):
    """The calibration ``subject`` was made with other settings: those named in ``differences``."""

    def __init__(
        self, subject: str, differences: tuple[str, ...], *, weights: str | None = None, is_remote: bool = False
    ) -> None:
        """``weights``: those that it needs, if only these differ; ``is_remote``: a server chooses them."""
        super().__init__(subject)
        self.differences = differences
        self.weights = weights
        self.is_remote = is_remote


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


class NothingToSwap(InputError):
    """No input of an audit has words that the swap file ``subject`` can exchange.

    ``detail`` says what it looked for.
    """


class ConversationFull(InputError):
    """A conversation of ``tokens`` with the next message leaves no room for an answer in ``context`` tokens."""

    def __init__(self, *, tokens: int, context: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.context = context


class NewerSchema(ConfigError):
    """The database ``subject`` has the schema ``version``; this version of llm knows ``known`` at most."""

    def __init__(self, subject: str, *, version: int, known: int) -> None:
        super().__init__(subject, detail="a newer version of llm has changed this file; it stays as it is")
        self.version = version
        self.known = known
