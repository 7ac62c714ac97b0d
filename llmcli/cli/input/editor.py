"""Opening a file in the user's editor, and writing a text in it."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from llmcli.cli.console.console import Console
from llmcli.cli.console.environment import Environment
from llmcli.cli.console.signals import ignore_interrupt_keys
from llmcli.errors import EmptyInput, LlmError, MissingError, OutputError, UsageError

_DEFAULT_EDITOR = "vi"
_TERMINAL = "/dev/tty"


def editor_command(environ: Mapping[str, str], *, terminal: bool) -> list[str]:
    """Return the words of VISUAL, else EDITOR, else vi if there is a terminal. Raises ``UsageError``."""
    for variable in ("VISUAL", "EDITOR"):
        text = environ.get(variable, "").strip()
        if text:
            try:
                return shlex.split(text)
            except ValueError as error:
                raise UsageError(
                    f"{variable} is not a command: {error}", detail=f"Try: export {variable}=vi"
                ) from error
    if not terminal:
        raise UsageError(
            "no editor is set, and vi needs a terminal", detail="Set VISUAL or EDITOR to the editor's command."
        )
    return [_DEFAULT_EDITOR]


@contextmanager
def remove_if_unchanged(file: Path, *, fresh: bool) -> Iterator[None]:
    """Remove ``file``, which was created for the editor (``fresh``), if the block leaves it unchanged.

    An unchanged copy would hide the file that a later version brings.
    """
    before = file.read_bytes() if fresh else b""
    try:
        yield
    finally:
        if fresh and file.is_file() and file.read_bytes() == before:
            file.resolve().unlink()  # if it is a link, the link existed before


def require_editor(console: Console) -> None:
    """Raise ``UsageError`` if no editor is set, and ``MissingError`` if it is not there."""
    environ = console.environment.environ
    with _terminal_streams(console.environment) as streams:
        words = editor_command(environ, terminal=all(map(console.environment.is_terminal, streams)))
    if shutil.which(words[0], path=environ.get("PATH")) is None:
        raise MissingError(words[0], kind="editor", detail=os.strerror(errno.ENOENT))


def edit_file(console: Console, file: Path) -> None:
    """Open ``file`` in the editor and wait for its end.

    Raises ``UsageError`` (no editor is set), ``MissingError`` (it is not there) and ``LlmError`` (it failed).
    """
    environment = console.environment
    try:
        with ignore_interrupt_keys(), _terminal_streams(environment) as (stdin, stdout):
            words = editor_command(
                environment.environ, terminal=environment.is_terminal(stdin) and environment.is_terminal(stdout)
            )
            code = subprocess.run(  # noqa: S603 (the command is the user's own)
                [*words, str(file)],
                stdin=stdin,
                stdout=stdout,
                stderr=environment.stderr,
                env=dict(environment.environ),
                check=False,
            ).returncode
    except OSError as error:
        raise MissingError(words[0], kind="editor", detail=error.strerror or "") from error
    console.interrupt.check()
    if code:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise LlmError(f"the editor {words[0]} failed", detail=how)


@contextmanager
def _terminal_streams(environment: Environment) -> Iterator[tuple[int, int]]:
    """Yield descriptors to read and to write; the terminal replaces a standard stream that is a pipe or a file."""
    own = (environment.stdin, environment.stdout)
    terminal = None
    if not all(map(environment.is_terminal, own)):
        with suppress(OSError):  # without a terminal, the editor gets the streams as they are
            terminal = os.open(_TERMINAL, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    stdin, stdout = (fd if terminal is None or environment.is_terminal(fd) else terminal for fd in own)
    try:
        yield stdin, stdout
    finally:
        if terminal is not None:
            os.close(terminal)


def compose_text(console: Console, text: str) -> str:
    """Let the user write a text, beginning with ``text``, in the editor; return it as an argument would hold it.

    The file is accessible to the user only and is removed. Raises ``EmptyInput`` for a blank text, ``OutputError``, and
    what ``edit_file`` raises.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix="llm-", suffix=".md")
        os.close(descriptor)
        Path(name).write_bytes(os.fsencode(text + "\n" if text else ""))
    except OSError as error:
        raise OutputError("a file for the editor", detail=error.strerror or "") from error
    try:
        edit_file(console, Path(name))
        written = Path(name).read_bytes()
    except FileNotFoundError:  # the user removed it: there is no text
        written = b""
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 (the name is a text)
    if not written.strip():
        raise EmptyInput("the text from the editor")
    return os.fsdecode(written.rstrip(b"\r\n"))
