"""The tree of errors. Each class knows its exit code; the texts for users are in ``cli/console/messages/``.

    LlmError                    1   a failure that has no class of its own
    |- EmptyAnswer         [r]      the answer was empty, also after a retry
    |- UsageError               2   arguments that make no sense together
    |  |- BadVariables              (of a prompt)
    |  `- JobMismatch, PartMismatch, RetryRefused  [s]
    |- PartialError             3   something was delivered and something failed
    |  |- AnswerTruncated, CostLimitReached, ExtractionFailed, InvalidAnswer, PartsMissing, ProblemsInText,
    |  |  RepetitionStopped, ValuesNotRestored  [r]
    |  `- EarlierFailures  [s]
    |- InputError              65   the input is bad
    |  |- BinaryInput
    |  |- NotUtf8                   (with the offset)
    |  |- IsADirectory
    |  |- EmptyInput
    |  |- BadDocument               (broken in its own format, with the line)
    |  |  `- BadBatchRequest  [n]
    |  |- ContextOverflow           (larger than the context, chunking refused)
    |  |- BadModelFile              (not a GGUF file, or a broken one)
    |  |- BadAdapter  [m]
    |  |- BadGrammar  [m]       2   (a schema, labels or a grammar from the command line)
    |  |- DamagedState  [s]    78   (a file that llm keeps)
    |  |- AnswerRefused  [r]        (by the model, or a filter)
    |  `- TooFewLabels  [s]
    |- MissingError            66   input, prompt file, session, model, repository
    |  `- UnreadableState  [s]  77   (no permission for what llm keeps)
    |- UnavailableError        69   retrying is useless
    |  |- MissingExtra              (an optional library)
    |  |- ModelNotDownloaded        (known, but the download was not confirmed)
    |  |- Offline
    |  |- Unsupported               (this build, machine or model cannot do it)
    |  |  |- UnsupportedAdapter, EngineNotInstalled, EngineUnavailable  [m]
    |  |  `- NotOnServers  [n]
    |  `- DerivationRefused  [m]
    |- InternalError           70   a bug, or a crash in native code
    |  |- WorkerCrashed
    |  `- LogitOverflow
    |- OutOfMemory             71
    |  `- ModelTooLarge             (so the model was not downloaded)
    |- CannotCreate            73
    |  |- CannotListen              (an address that is in use, or not ours)
    |  `- NoRoomForWeights, CannotStoreCopies  [m]
    |- OutputError             74   I/O error, disk full, closed stdout
    |  `- UnusableDirectory
    |- TemporaryFailure        75   network, 429, 5xx, lock time-out
    |  |- ServerUnreachable (HubUnreachable), ServerStalled, RateLimited, PageUnavailable, PackageUnavailable,
    |  |  ClaimedByOther, TransferStalled (ReadTimedOut)  [n]
    |  `- DerivedWeightsMissing  [m]
    |- RemoteError             76   checksum mismatch, protocol error
    |  |- DamagedModel              (a file does not match its checksum, or has changed)
    |  |- RequestRejected           (a server does not accept the request)
    |  |  `- BadRequest  [n]
    |  |- UntrustedServer           (a server does not prove its identity, or redirects elsewhere)
    |  |  `- UntrustedPage, UntrustedDownload  [n]
    |  `- NoLabelAnswered  [r]
    |- AccessDenied            77   authentication or permission
    |  `- Unauthorized              (a server does not accept the key)
    |- ConfigError             78   configuration, unknown keys too
    |  |- EngineRefused  [m]
    |  `- DamagedCalibration  [s]
    |- TimedOut               124   --timeout ran out
    `- ProcessStopped
       |- HungUp              129   SIGHUP
       |- Interrupted         130   SIGINT
       |- OutputPipeClosed    141   the reader of stdout closed it
       `- Terminated          143   SIGTERM

This module has the classes that every start needs. The others are in ``incomplete_results`` [r], ``saved_state_errors``
[s], ``model_errors`` [m] and ``network_errors`` [n]; the worker's protocol knows them all.

An exception carries data (attributes); ``detail`` is another program's message, if any. Where only one place
raises an error and no code catches it by type, it has no class of its own: that place raises the parent class with a
``message``, an ``advice`` and a ``type_name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing import Unpack


class OwnTexts(TypedDict, total=False):
    """The texts of one error, in place of those of its class: ``message``, ``advice`` and ``type_name`` of ``LlmError``."""

    message: str
    advice: str | tuple[str, ...]
    type_name: str


class LlmError(Exception):
    """Base class. ``subject`` is what it is about (a path, a name); ``detail`` is another program's explanation.

    ``message`` says what happened, where ``{subject}`` and ``{detail}`` stand for these two; "": the texts of the class
    apply. ``advice`` is what to do next with a ``message``: one line, or several.
    """

    exit_code = 1
    type_name = "LlmError"
    """``error.type`` in JSON: the class name, or the original one (``type_name=``), since scripts match it."""
    ends_job = False
    """Whether all other requests of the job would fail alike: it ends with this error's exit code, and can go on later.
    """
    message = ""
    advice: str | tuple[str, ...] = ""

    def __init_subclass__(cls, *, type_name: str = "") -> None:
        super().__init_subclass__()
        cls.type_name = type_name or cls.__name__

    def __init__(
        self,
        subject: str = "",
        *,
        detail: str = "",
        message: str = "",
        advice: str | tuple[str, ...] = "",
        type_name: str = "",
    ) -> None:
        super().__init__(subject, detail)
        self.subject = subject
        self.detail = detail
        if message:
            self.message, self.advice = message, advice
        if type_name:
            self.type_name = type_name


class UsageError(LlmError):
    """Arguments that make no sense; ``subject`` is the message."""

    exit_code = 2


class BadVariables(UsageError):
    """The variables given to the prompt called ``prompt`` are unknown, ``missing`` or wrong."""

    def __init__(self, subject: str, *, prompt: str, missing: Sequence[str] = ()) -> None:
        super().__init__(subject)
        self.prompt = prompt
        self.missing = tuple(missing)


class PartialError(LlmError):
    """Something was delivered and something failed."""

    exit_code = 3


class InputError(LlmError):
    """The input named by ``subject`` is bad."""

    exit_code = 65


class BinaryInput(InputError):
    """The input contains NUL bytes or is a known binary format."""


class NotUtf8(InputError):
    """The input stops being UTF-8 at byte ``offset`` (from 0); ``detail`` names the encoding if it is known."""

    def __init__(self, subject: str, *, offset: int, detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.offset = offset


class IsADirectory(InputError):
    """A directory where a file was expected."""


class EmptyInput(InputError):
    """The input has no content to ask about or summarize."""


class BadDocument(InputError):
    """A file that is invalid in its format; ``detail`` gives the reason, ``line`` (from 1) the place if known.

    ``subject`` is the file name, "" if a format raised it; ``kind`` is what the file should be, such as a glossary or
    an outline, "" for a document.
    """

    def __init__(self, subject: str = "", *, detail: str, line: int | None = None, kind: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.line = line
        self.kind = kind


class ContextOverflow(InputError):
    """A prompt of ``tokens`` (``at_least``: or more) exceeds ``context``; 0: the server ``subject`` says ``detail``."""

    def __init__(
        self, subject: str = "", *, tokens: int = 0, context: int = 0, at_least: bool = False, detail: str = ""
    ) -> None:
        super().__init__(subject, detail=detail)
        self.tokens = tokens
        self.context = context
        self.at_least = at_least


class BadModelFile(InputError):
    """A model file that is not GGUF, or is broken; ``detail`` gives the reason."""


class MissingError(LlmError):
    """``kind`` (input, prompt, model, session, repository, file, place) named ``subject`` is missing or unreadable."""

    exit_code = 66

    def __init__(
        self,
        subject: str,
        *,
        kind: str,
        suggestions: Sequence[str] = (),
        detail: str = "",
        **texts: Unpack[OwnTexts],
    ) -> None:
        super().__init__(subject, detail=detail, **texts)
        self.kind = kind
        self.suggestions = tuple(suggestions)


class UnavailableError(LlmError):
    """Unavailable, and retrying is useless."""

    exit_code = 69


class MissingExtra(UnavailableError):
    """The library ``subject`` is not installed; it comes with the optional part ``detail`` of llmcli."""


class ModelNotDownloaded(UnavailableError, type_name="ModelNotHere"):
    """The model ``subject``, of ``size`` bytes, is known but not on this machine; ``context``: the requested tokens."""

    def __init__(self, subject: str, *, size: int | None = None) -> None:
        super().__init__(subject)
        self.size = size
        self.context: int | None = None


class Offline(UnavailableError):
    """``subject`` needs the network, but offline is set; ``origin`` is the option, variable or file."""

    def __init__(self, subject: str, *, origin: str = "--offline") -> None:
        super().__init__(subject)
        self.origin = origin


class Unsupported(UnavailableError):
    """This build, machine or model cannot do ``subject``."""


class InternalError(LlmError):
    """A bug, or a crash in native code; ``detail`` holds the native cause."""

    exit_code = 70


class WorkerCrashed(InternalError, type_name="Crashed"):
    """The worker that ran the model ended unexpectedly; ``detail`` says why, where the cause is known."""


class LogitOverflow(InternalError):
    """An evaluation gave a logit that is no number: an activation exceeds the range of the weights' type."""


class OutOfMemory(LlmError):
    """``needed`` bytes were requested and ``available`` are free (None if unknown).

    ``weights``: bytes of the weights; ``per_token``: bytes per token of context; ``fits``: options that would fit.
    """

    exit_code = 71

    def __init__(
        self,
        subject: str = "",
        *,
        needed: int | None = None,
        available: int | None = None,
        weights: int | None = None,
        per_token: int | None = None,
        fits: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(subject, detail=detail)
        self.needed = needed
        self.available = available
        self.weights = weights
        self.per_token = per_token
        self.fits = fits


class ModelTooLarge(OutOfMemory, type_name="DoesNotFit"):
    """The model ``subject`` needs more memory than this machine has, and was not downloaded.

    The estimate is for ``context`` tokens; ``max_context`` would fit. ``smaller_variant``: another quantization that
    fits, or "".
    """

    def __init__(
        self,
        subject: str,
        *,
        needed: int,
        available: int | None,
        weights: int,
        per_token: int | None,
        context: int,
        max_context: int = 0,
        smaller_variant: str = "",
    ) -> None:
        super().__init__(subject, needed=needed, available=available, weights=weights, per_token=per_token)
        self.context = context
        self.max_context = max_context
        self.smaller_variant = smaller_variant


class CannotCreate(LlmError):
    """The output ``subject`` cannot be created (``detail``: why), or exists (``detail``: advice, "" for the usual)."""

    exit_code = 73

    def __init__(self, subject: str, *, exists: bool = False, detail: str = "", **texts: Unpack[OwnTexts]) -> None:
        super().__init__(subject, detail=detail, **texts)
        self.exists = exists


class CannotListen(CannotCreate):
    """Nothing can listen on the address or path ``subject``."""


class OutputError(LlmError):
    """Writing ``subject`` failed: disk full, I/O error, closed stdout."""

    exit_code = 74


class UnusableDirectory(OutputError):
    """The directory ``subject`` cannot hold sockets."""


class TemporaryFailure(LlmError, type_name="TryAgain"):
    """A failure that may pass: network, 429, 5xx, a lock that is held. ``retry_after`` in seconds where announced.

    ``num_shown``: characters of an answer that the reader had been shown before.
    """

    exit_code = 75

    def __init__(
        self,
        subject: str = "",
        *,
        retry_after: float | None = None,
        detail: str = "",
        ends_job: bool = False,
        **texts: Unpack[OwnTexts],
    ) -> None:
        super().__init__(subject, detail=detail, **texts)
        self.retry_after = retry_after
        self.num_shown = 0
        if ends_job:
            self.ends_job = True


class RemoteError(LlmError):
    """An unexpected response of a server: a checksum mismatch, a protocol error."""

    exit_code = 76


class DamagedModel(RemoteError):
    """A file of the model ``subject`` does not match its published checksum, or has changed since.

    ``repair`` is the command to repair it if downloading again does not help; ``note`` explains that command.
    """

    def __init__(self, subject: str, *, detail: str = "", repair: str = "", note: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.repair = repair
        self.note = note


class RequestRejected(RemoteError, type_name="Refused"):
    """The server ``subject`` does not accept the request; ``detail`` holds its message."""


class UntrustedServer(RemoteError, type_name="Untrusted"):
    """Nothing is sent to the server ``subject``: it does not prove its identity, or redirects elsewhere.

    ``detail`` says which.
    """


class AccessDenied(LlmError):
    """Authentication or permission; ``url`` is where access can be requested."""

    exit_code = 77

    def __init__(self, subject: str, *, url: str = "", detail: str = "", **texts: Unpack[OwnTexts]) -> None:
        super().__init__(subject, detail=detail, **texts)
        self.url = url


class Unauthorized(AccessDenied, type_name="KeyRefused"):
    """The server ``backend`` does not accept the key that came from ``key``; "": none was sent, and it has no name."""

    def __init__(self, subject: str, *, key: str = "", detail: str = "", backend: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.key, self.backend = key, backend


class ConfigError(LlmError):
    """The configuration is wrong: ``subject`` names the key, ``origin`` where it was set (a variable, a file).

    ``origin`` is "environment" for a variable that is itself wrong; ``prompt`` names the prompt whose file is bad.
    """

    exit_code = 78
    COMMAND_LINE = "command line"  # the origin of a value to be stored

    def __init__(
        self,
        subject: str,
        *,
        origin: str = "",
        prompt: str = "",
        detail: str = "",
        suggestions: Sequence[str] = (),
        **texts: Unpack[OwnTexts],
    ) -> None:
        super().__init__(subject, detail=detail, **texts)
        self.origin, self.prompt = origin, prompt
        self.suggestions = tuple(suggestions)


class TimedOut(LlmError):
    """``--timeout`` ran out."""

    exit_code = 124


class ProcessStopped(LlmError, type_name="Stopped"):
    """The process was asked to stop."""


class HungUp(ProcessStopped):
    """SIGHUP."""

    exit_code = 129


class Interrupted(ProcessStopped):
    """SIGINT."""

    exit_code = 130


class OutputPipeClosed(ProcessStopped, type_name="ReaderGone"):
    """The reader of stdout closed it (EPIPE)."""

    exit_code = 141


class Terminated(ProcessStopped):
    """SIGTERM."""

    exit_code = 143
