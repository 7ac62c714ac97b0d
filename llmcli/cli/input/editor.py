"""Opening a file in the user's editor."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from llmcli.cli.console.console import Console
from llmcli.cli.console.signals import ignore_interrupt_keys
from llmcli.errors import LlmError, MissingError, UsageError

_DEFAULT_EDITOR = "vi"


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


def edit_file(console: Console, file: Path) -> None:
    """Open ``file`` in the editor and wait for its end.

    Raises ``UsageError`` (no editor is set), ``MissingError`` (it is not there) and ``LlmError`` (it failed).
    """
    environment = console.environment
    words = editor_command(
        environment.environ,
        terminal=console.stdin_is_terminal and console.stdout_is_terminal,
    )
    try:
        with ignore_interrupt_keys():
            code = subprocess.run(  # noqa: S603 (the command is the user's own)
                [*words, str(file)],
                stdin=environment.stdin,
                stdout=environment.stdout,
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
