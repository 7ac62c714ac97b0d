"""Inputs: whether standard input or files are read, by the pipe contract, and which files are the same."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from llmcli.cli.command_context import CommandContext
from llmcli.cli.console.console import Console
from llmcli.errors import NotUtf8, UsageError


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


def note_input(ctx: CommandContext, name: str, data: bytes | None = None, note: str = "") -> None:
    """Note what the output is made of, if that is recorded: a file, or the ``data`` of what cannot be read again."""
    if ctx.provenance is None:
        return
    if data is None:
        ctx.provenance.note_file(name)
    else:
        ctx.provenance.note_bytes(name, data, note)


def check_output(ctx: CommandContext, names: Sequence[str]) -> None:
    """Raise ``UsageError`` if -o would overwrite one of the inputs."""
    if ctx.flags.output is not None:
        check_distinct([("an input", name) for name in names], [("the output", ctx.flags.output)])


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
    from llmcli.documents.reading.file_reader import open_stdin_stream

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
