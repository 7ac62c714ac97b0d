"""The tree of errors. Each class knows its exit code; the words stand in ``cli/wording.py``.

    LlmError                    1   a failure that has no class of its own
    |- UsageError               2   arguments that make no sense together
    |  `- BadVariables              (of a prompt)
    |- PartialError             3   something was delivered and something failed
    |  `- ...                       (the ways of that: ``incomplete.py``)
    |- InputError              65   the input is bad
    |  |- BinaryInput
    |  |- NotUtf8                   (with the offset)
    |  |- IsADirectory
    |  |- EmptyInput
    |  |- BadDocument               (broken in its own format, with the line)
    |  |- ContextOverflow           (larger than the context, chunking refused)
    |  `- BadModelFile              (not a GGUF file, or a broken one)
    |- MissingError            66   input, prompt file, session, model, repository
    |- UnavailableError        69   retrying is useless
    |  |- NothingToRemove
    |  |- ModelNotHere              (known, but nobody said to fetch it)
    |  |- Offline
    |  `- Unsupported               (this build, machine or model cannot do it)
    |- InternalError           70   a bug, or a crash in native code
    |  `- Crashed                   (the worker ended)
    |- OutOfMemory             71
    |  `- DoesNotFit                (a model that was not fetched for that)
    |- CannotCreate            73
    |  `- CannotListen              (an address that is taken, or not ours)
    |- OutputError             74   I/O error, disk full, closed stdout
    |- TryAgain                75   network, 429, 5xx, lock time-out
    |- RemoteError             76   checksum mismatch, protocol error
    |  |- DamagedModel              (a file is not what was announced, or what it was)
    |  |- Refused                   (a server does not take the request)
    |  `- Untrusted                 (a server is not what it should be, or sends to another)
    |- AccessDenied            77   authentication or permission
    |  |- KeyRefused                (a server wants another key)
    |  |- UnsafeKey                 (others may read the file of a key)
    |  `- NoConsent                 (nobody agreed that a host gets what is sent)
    |- ConfigError             78   configuration, unknown keys too
    |- TimedOut               124   --timeout ran out
    `- Stopped
       |- HungUp              129   SIGHUP
       |- Interrupted         130   SIGINT
       |- ReaderGone          141   the reader of stdout went away
       `- Terminated          143   SIGTERM

An exception carries data (attributes), never a sentence for the user; ``detail`` holds another program's words, if any.
"""

from __future__ import annotations

from collections.abc import Sequence


class LlmError(Exception):
    """Base class. ``subject`` is what it is about (a path, a name); ``detail`` is somebody else's explanation."""

    exit_code = 1

    def __init__(self, subject: str = "", *, detail: str = "") -> None:
        super().__init__(subject, detail)
        self.subject = subject
        self.detail = detail


class UsageError(LlmError):
    """Arguments that make no sense; ``subject`` is the sentence about them."""

    exit_code = 2


class BadVariables(UsageError):
    """The variables given to the prompt called ``prompt`` are unknown, missing or wrong."""

    def __init__(self, subject: str, *, prompt: str) -> None:
        super().__init__(subject)
        self.prompt = prompt


class PartialError(LlmError):
    """Something was delivered and something failed."""

    exit_code = 3


class InputError(LlmError):
    """The input named by ``subject`` is bad."""

    exit_code = 65


class BinaryInput(InputError):
    """The input contains NUL bytes or is a known binary format."""


class NotUtf8(InputError):
    """The input stops being UTF-8 at byte ``offset`` (from 0); ``detail`` names the encoding where it is known."""

    def __init__(self, subject: str, *, offset: int, detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.offset = offset


class IsADirectory(InputError):
    """A directory where a file was expected."""


class EmptyInput(InputError):
    """Nothing in the input to ask about or to summarize."""


class BadDocument(InputError):
    """A file that breaks the grammar of its format; ``detail`` says how, ``line`` (from 1) where, when that is known.

    ``subject`` is the file's name, "" from a format, which sees only the text; ``kind`` memory, glossary or TMX, else "".
    """

    def __init__(self, subject: str = "", *, detail: str, line: int | None = None, kind: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.line = line
        self.kind = kind


class ContextOverflow(InputError):
    """A prompt of ``tokens`` (``at_least``: or more) does not fit ``context``; 0: the server ``subject`` says ``detail``."""

    def __init__(
        self, subject: str = "", *, tokens: int = 0, context: int = 0, at_least: bool = False, detail: str = ""
    ) -> None:
        super().__init__(subject, detail=detail)
        self.tokens = tokens
        self.context = context
        self.at_least = at_least


class BadModelFile(InputError):
    """A model file that is not GGUF, or is broken; ``detail`` says what was found."""


class MissingError(LlmError):
    """``kind`` (input, prompt, model, session, repository, file, place) named ``subject`` does not exist or cannot be read."""

    exit_code = 66

    def __init__(self, subject: str, *, kind: str, suggestions: Sequence[str] = (), detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.kind = kind
        self.suggestions = tuple(suggestions)


class UnavailableError(LlmError):
    """Unavailable, and retrying is useless."""

    exit_code = 69


class MissingExtra(UnavailableError):
    """The library ``subject`` is not installed; it comes with the optional part ``detail`` of llmcli."""


class ModelNotHere(UnavailableError):
    """The model ``subject``, of ``size`` bytes, is known but not on this machine; ``context``: tokens that are wanted."""

    def __init__(self, subject: str, *, size: int | None = None) -> None:
        super().__init__(subject)
        self.size = size
        self.context: int | None = None


class NothingToRemove(UnavailableError):
    """The model ``subject`` is not on this machine, so it cannot be removed from it."""


class Offline(UnavailableError):
    """The network is needed for ``subject`` and the user forbade it: ``origin`` is the option, variable or file."""

    def __init__(self, subject: str, *, origin: str = "--offline") -> None:
        super().__init__(subject)
        self.origin = origin


class Unsupported(UnavailableError):
    """This build, machine or model cannot do ``subject``."""


class InternalError(LlmError):
    """A bug, or a crash in native code; ``detail`` holds the native cause."""

    exit_code = 70


class Crashed(InternalError):
    """The worker that ran the model ended; ``detail`` says why, as far as that is known."""


class OutOfMemory(LlmError):
    """``needed`` bytes are wanted and ``available`` are free (None where unknown).

    Of them ``weights`` are the model's, and a token of context takes ``per_token``. ``fits``: options that would fit.
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


class DoesNotFit(OutOfMemory):
    """The model ``subject`` needs more than this machine has, and was not fetched.

    ``context`` tokens were planned with, ``room`` would fit; ``smaller``: another quantization that fits, "" for none.
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
        room: int = 0,
        smaller: str = "",
    ) -> None:
        super().__init__(subject, needed=needed, available=available, weights=weights, per_token=per_token)
        self.context = context
        self.room = room
        self.smaller = smaller


class CannotCreate(LlmError):
    """The output ``subject`` cannot be created, or exists and nobody said to overwrite it."""

    exit_code = 73

    def __init__(self, subject: str, *, exists: bool = False, detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.exists = exists


class WouldLoseEdits(CannotCreate):
    """The translation ``subject`` cannot be renewed without losing what people changed in it; ``detail`` says why."""


class CannotListen(CannotCreate):
    """Nothing can listen on the address or path ``subject``."""


class OutputError(LlmError):
    """Writing ``subject`` failed: disk full, I/O error, closed stdout."""

    exit_code = 74


class UnusableDirectory(OutputError):
    """The directory ``subject`` cannot hold sockets."""


class TryAgain(LlmError):
    """A failure that may pass: network, 429, 5xx, a lock that is held. ``retry_after`` in seconds where announced."""

    exit_code = 75

    def __init__(self, subject: str = "", *, retry_after: float | None = None, detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.retry_after = retry_after


class RemoteError(LlmError):
    """The remote sent what it cannot have meant: a checksum mismatch, a protocol error."""

    exit_code = 76


class DamagedModel(RemoteError):
    """A file of the model ``subject`` is no longer what was announced, or what it was.

    ``repair`` is the command that heals it where fetching it again does not; ``note`` what to know of that command.
    """

    def __init__(self, subject: str, *, detail: str = "", repair: str = "", note: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.repair = repair
        self.note = note


class Refused(RemoteError):
    """The server ``subject`` does not take the request; ``detail`` holds its words."""


class Untrusted(RemoteError):
    """The server ``subject`` gets nothing: it does not prove who it is, or sends to another one; ``detail`` says which."""


class AccessDenied(LlmError):
    """Authentication or permission; ``url`` is where access can be asked for."""

    exit_code = 77

    def __init__(self, subject: str, *, url: str = "", detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.url = url


class UnsafeDirectory(AccessDenied):
    """Others could enter the directory ``subject``, which is to hold sockets."""


class KeyRefused(AccessDenied):
    """The server ``subject`` does not accept the key that came from ``key`` ("" where none was sent)."""

    def __init__(self, subject: str, *, key: str = "", detail: str = "") -> None:
        super().__init__(subject, detail=detail)
        self.key = key


class UnsafeKey(AccessDenied):
    """Others than its owner may read the file ``subject`` that holds a key."""


class NoConsent(AccessDenied):
    """Nobody agreed that the host ``subject`` gets what is sent; ``backend`` is its name in the configuration, or ""."""

    def __init__(self, subject: str, *, backend: str = "") -> None:
        super().__init__(subject)
        self.backend = backend


class ConfigError(LlmError):
    """The configuration is wrong: ``subject`` names the key, ``origin`` where it was set (a variable, a file).

    ``origin`` is "environment" where the subject is the variable itself; ``prompt`` names the prompt whose file is bad.
    """

    exit_code = 78

    def __init__(
        self, subject: str, *, origin: str = "", prompt: str = "", detail: str = "", suggestions: Sequence[str] = ()
    ) -> None:
        super().__init__(subject, detail=detail)
        self.origin = origin
        self.prompt = prompt
        self.suggestions = tuple(suggestions)


class TimedOut(LlmError):
    """``--timeout`` ran out."""

    exit_code = 124


class Stopped(LlmError):
    """The process was told to stop."""


class HungUp(Stopped):
    """SIGHUP."""

    exit_code = 129


class Interrupted(Stopped):
    """SIGINT."""

    exit_code = 130


class ReaderGone(Stopped):
    """The reader of stdout went away (EPIPE)."""

    exit_code = 141


class Terminated(Stopped):
    """SIGTERM."""

    exit_code = 143
