"""Inputs: whether standard input or files are read, by the pipe contract, and the resulting documents."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.console import Console
from llmcli.documents.reading.document import Document, open_document, refuse_unreadable
from llmcli.documents.reading.file_reader import open_stdin_stream, read_file, read_stdin
from llmcli.errors import BadDocument, LlmError, NotUtf8, UsageError
from llmcli.interrupt import Interrupt, run_interruptible
from llmcli.types import ItemFailed

T = TypeVar("T")
_TAG = re.compile("<[^<>]*+>")
MAX_KEPT_CHARACTERS = 1 << 20
"""Of the texts of all documents that are kept: reading more than that again takes no time beside working on it."""


def _digest(document: Document) -> bytes:
    import hashlib

    return hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).digest()


class ReloadableInputs(Sequence[T | ItemFailed], Generic[T]):
    """The inputs that were added, in their order.

    Each is read once when it is added, so that its failure is known before the work begins. Texts beyond
    ``MAX_KEPT_CHARACTERS`` are then dropped unless ``keeps_all``, and read again from their files whenever they are
    asked for; a file that cannot be read any more, or has another text, is an ``ItemFailed``. What can be read only
    once is always kept. ``notes``: what was left out of the documents, by their positions. ``characters``: the length
    of all their texts.
    """

    def __init__(
        self, ctx: CommandContext, read: Callable[[CommandContext, str], T], *, keeps_all: bool = False
    ) -> None:
        self._ctx = ctx
        self._keeps_all = keeps_all
        self._read = read
        self._names: list[str] = []
        self._kept: list[T | ItemFailed | None] = []
        self._digests: dict[int, bytes] = {}  # of the texts that were dropped
        self._kept_characters = 0
        self.characters = 0
        self.notes: dict[int, list[str]] = {}

    def add(self, name: str) -> None:
        """Read an input. Raises what ``read`` raises."""
        found = self._read(self._ctx, name)
        dropped = False
        if isinstance(found, Document):
            self.notes[len(self)] = found.notes
            full = self._kept_characters + len(found.text) > MAX_KEPT_CHARACTERS and not self._keeps_all
            dropped = full and name != STDIN and Path(name).is_file()
            self._kept_characters += 0 if dropped else len(found.text)
            self.characters += len(found.text)
            if dropped:
                self._digests[len(self)] = _digest(found)
        self._names.append(name)
        self._kept.append(None if dropped else found)

    def append(self, document: T) -> None:
        """Add a document that has been read; it is kept."""
        assert isinstance(document, Document)
        self.notes[len(self)] = document.notes
        self.characters += len(document.text)
        self._names.append(document.name)
        self._kept.append(document)

    @property
    def names(self) -> Sequence[str]:
        """The names of the inputs."""
        return self._names

    @property
    def is_kept(self) -> bool:
        """Whether no text was dropped."""
        return None not in self._kept

    def add_failure(self, name: str, error: LlmError) -> None:
        """Add an input that cannot be read."""
        self._kept.append(ItemFailed(len(self), name, error))
        self._names.append(name)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> T | ItemFailed: ...
    @overload
    def __getitem__(self, index: slice) -> list[T | ItemFailed]: ...
    def __getitem__(self, index: int | slice) -> T | ItemFailed | list[T | ItemFailed]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        kept = self._kept[index]
        return self._read_again(range(len(self))[index]) if kept is None else kept

    def _read_again(self, index: int) -> T | ItemFailed:
        """Read an input once more; its characters were counted before."""
        runtime, name = self._ctx.runtime, self._names[index]
        counted = runtime.input_characters
        try:
            found = self._read(self._ctx, name)
        except LlmError as error:
            runtime.interrupt.check()
            return ItemFailed(index, name, error)
        finally:
            runtime.input_characters = counted
        if isinstance(found, Document) and _digest(found) == self._digests[index]:
            return found
        return ItemFailed(index, name, BadDocument(name, detail="the file changed while the command ran"))


def decode_argument(text: str) -> str:
    """Return a text argument as UTF-8, whatever the locale decoded its bytes as. Raises ``NotUtf8``."""
    data = os.fsencode(text)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8("the argument", offset=error.start) from error


def is_web_address(name: str) -> bool:
    """Whether an input is named by its web address."""
    return name[:8].lower().startswith(("http://", "https://"))


def reads_stdin(ctx: CommandContext, files: Sequence[str]) -> bool:
    """Whether standard input is read by default: no file is named, it is a file or a pipe, and not switched off."""
    return not files and ctx.runtime.settings["stdin"] == "on" and ctx.console.has_piped_input


def holds_piped_text(ctx: CommandContext) -> bool:
    """Whether standard input, which a command does not read, has text at this moment; it stays there."""
    if not reads_stdin(ctx, ()):
        return False
    import fcntl
    import struct
    import termios

    fd = ctx.console.environment.stdin
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return os.lseek(fd, 0, os.SEEK_CUR) < status.st_size
        count: int = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
    except OSError:  # it is closed, or a device without a count
        return False
    return count > 0


def read_stdin_document(ctx: CommandContext) -> Document:
    """Read standard input to its end. Raises ``UsageError`` if -o would overwrite the file that it comes from."""
    check_output(ctx, [STDIN])
    return count_characters(ctx, open_document(read_stdin_bytes(ctx, refuse_unreadable), STDIN))


def read_stdin_bytes(ctx: CommandContext, refuse_binary: Callable[[bytes, str], None]) -> bytes:
    """Read standard input to its end, and note it as an input. Raises as ``read_stdin``."""
    console = ctx.console
    waiting = partial(announce_stdin_wait, console)
    data = read_stdin(console.claim_stdin(), console.interrupt, waiting, refuse_binary=refuse_binary)
    note_input(ctx, STDIN, data)
    return data


def read_document(ctx: CommandContext, name: str) -> Document:
    """Read one named input; ``-`` is standard input. Raises ``UsageError`` if -o would overwrite it."""
    check_output(ctx, [name])
    if name == STDIN:
        return read_stdin_document(ctx)
    note_input(ctx, name)
    return count_characters(ctx, read_file(name, ctx.runtime.interrupt))


def read_translatable_document(ctx: CommandContext, name: str) -> Document:
    """Read one named input to translate it: a text as ``read_document`` does, or an archive such as an Office file."""
    from llmcli.documents.reading.translatable import open_translatable, read_translatable, refuse_untranslatable

    check_output(ctx, [name])
    if name != STDIN:
        note_input(ctx, name)
        return count_characters(ctx, read_translatable(name, ctx.runtime.interrupt))
    data = read_stdin_bytes(ctx, refuse_untranslatable)
    return count_characters(ctx, run_interruptible(open_translatable, data, STDIN))


def note_input(ctx: CommandContext, name: str, data: bytes | None = None, note: str = "") -> None:
    """Note what the output is made of, if that is recorded: a file, or the ``data`` of what cannot be read again."""
    if ctx.provenance is None:
        return
    if data is None:
        ctx.provenance.note_file(name)
    else:
        ctx.provenance.note_bytes(name, data, note)


def count_characters(ctx: CommandContext, document: Document) -> Document:
    """Count a document's text as input of the job, whose size decides which weights answer; of an archive, no tags."""
    if ctx.runtime.input_characters is not None:
        tags = sum(len(match[0]) for match in _TAG.finditer(document.text)) if document.data is not None else 0
        ctx.runtime.input_characters += len(document.text) - tags
    return document


def check_output(ctx: CommandContext, names: Sequence[str]) -> None:
    """Raise ``UsageError`` if -o would overwrite one of the inputs."""
    if ctx.flags.output is not None:
        check_distinct([("an input", name) for name in names], [("the output", ctx.flags.output)])


def read_inputs(
    ctx: CommandContext, files: Sequence[str], read: Callable[[CommandContext, str], T], *, keeps_all: bool = False
) -> Sequence[T | ItemFailed]:
    """Read the named inputs with ``read``, or standard input if none is named.

    Unless ``keeps_all``, of many those that would fill the memory are read again when they are asked for. If there are
    several inputs, an unreadable one becomes an ``ItemFailed`` at its position; a single one raises.
    Raises ``UsageError`` if there is no input, or if -o would overwrite one.
    """
    if not files:
        if not reads_stdin(ctx, files):
            raise UsageError("no input: name a file, or pipe text in")
        return [read(ctx, STDIN)]
    if files.count(STDIN) > 1:
        raise UsageError("standard input can be read only once")
    if len(files) == 1:
        return [read(ctx, files[0])]
    check_output(ctx, files)
    return _read_several(ReloadableInputs(ctx, read, keeps_all=keeps_all), files, ctx.runtime.interrupt)


def _read_several(found: ReloadableInputs[T], files: Sequence[str], interrupt: Interrupt) -> ReloadableInputs[T]:
    failed: list[LlmError] = []
    for name in files:
        try:
            found.add(name)
        except LlmError as error:
            interrupt.check()
            failed.append(error)
            found.add_failure(name, error)
    if len(failed) == len(files):
        raise failed[0]
    return found


FileRoles = Iterable[tuple[str, str]]
"""The role of a file in the command, such as "the report", and its name."""
_STDIN_NAMES = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})


def check_distinct(reads: FileRoles, writes: FileRoles) -> None:
    """Raise ``UsageError`` if a written file, under any name, is also read or written twice.

    A file that is read may be standard input (``-``), which the shell has redirected from a file.
    """
    seen: dict[object, str] = {}
    for role, name in reads:
        identity = _stdin_identity() if name in _STDIN_NAMES else file_identity(name)
        seen.setdefault(identity, "standard input" if name == "-" else role)
    for role, name in writes:
        identity = file_identity(name)
        if identity is not None and identity in seen:
            raise UsageError(
                f"{name} is both {seen[identity]} and {role}",
                detail="Name another file; one would overwrite the other.",
            )
        seen[identity] = role


def file_identity(name: str) -> object:
    """Return a file's identity under all its names; None for standard input, a device, a pipe, an open descriptor."""
    from llmcli.files.atomic_file import own_descriptor  # a command without files does not need it

    if name == "-" or name.startswith("/proc/"):
        return None
    try:
        if own_descriptor(name) is not None:
            return None
        status = Path(name).stat()
    except OSError:
        return os.path.realpath(name)
    except ValueError:  # a NUL in the name
        return None
    return _regular_file_identity(status)


def _stdin_identity() -> object:
    try:
        return _regular_file_identity(os.fstat(0))
    except OSError:  # it is closed
        return None


def _regular_file_identity(status: os.stat_result) -> object:
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


STDIN = "-"
"""The name that stands for standard input among files."""


def announce_stdin_wait(console: Console) -> None:
    """Tell a terminal that standard input is being read."""
    if console.stderr_is_terminal and not console.quiet:
        console.write_message("llm: waiting for standard input (Ctrl-D ends it; --no-stdin skips it)")


@contextmanager
def open_stdin(
    console: Console, observe: Callable[[memoryview], object] | None = None
) -> Iterator[io.BufferedReader[Any]]:
    """Yield standard input as a stream of bytes that are read as they arrive; report the wait on a terminal's stderr.

    ``observe`` is called with all bytes that are read.
    """
    if console.stdin_is_terminal:
        console.status_line.disable()
    fd, interrupt = console.claim_stdin(), console.interrupt
    with open_stdin_stream(fd, interrupt, partial(announce_stdin_wait, console), observe=observe) as stream:
        yield stream


def stdin_lines(console: Console) -> Iterator[str]:
    """Yield each line as soon as it is complete, without its end; the last one needs no newline.

    Raises ``NotUtf8`` (with the offset in the stream) and ``BinaryInput`` after the lines before the bad one, and what
    ``interrupt.check()`` raises.
    """
    from llmcli.documents.records.byte_lines import ByteLines

    with open_stdin(console) as stream:
        lines = ByteLines(stream, STDIN)
        while raw := lines.read():
            text, error = lines.decode(raw)
            if error is not None:
                raise error
            yield text.removesuffix("\n").removesuffix("\r")


def format_source_name(name: str) -> str:
    """Return the name of an input on one line, as ``show_name`` does; "stdin" for ``-``."""
    if name == STDIN:
        return "stdin"
    from llmcli.cli.console.file_names import show_name

    return show_name(name)
