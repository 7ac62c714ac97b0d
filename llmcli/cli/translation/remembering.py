"""The translation memory that a command means: the user's own, or the file of --tm."""

from __future__ import annotations

from pathlib import Path

from llmcli import private_files
from llmcli.cli import wording
from llmcli.cli.context import Context
from llmcli.errors import CannotCreate, LlmError, MissingError, OutputError, TryAgain
from llmcli.store.database import make_directory
from llmcli.store.memory import Memory
from llmcli.tasks.translation.remembered import Remembered


def memory_path(cli: Context, name: str | None) -> Path:
    """Return where it lies."""
    return cli.paths.memory if name is None else Path(name)


def open_memory(cli: Context, name: str | None, *, looks: bool = False) -> Memory:
    """Open it; it is made where it is not there, of a directory only the user's own.

    A file that was named keeps the mode that it has: a team may share it. With ``looks`` nothing is written, and a file that was named has to be there, else ``MissingError``. Raises what
    ``Memory`` raises.
    """
    path = memory_path(cli, name)
    if looks and name is not None and not private_files.exists(Path(name)):
        raise MissingError(name, kind="translation memory")
    if not looks and name is None:
        make_directory(path)
    return Memory(path, looks=looks, private=name is None)


def memory_for_job(cli: Context, name: str | None, *, looks: bool) -> Memory | None:
    """Open it for a job, which is worth more than what is remembered of it; with ``looks`` nothing is to be remembered.

    The user's own that cannot be written, as on a full disk, is told and only read, or done without. Raises as
    ``open_memory`` for a file that was named.
    """
    try:
        return Memory(memory_path(cli, name), looks=True) if looks else open_memory(cli, name)
    except (CannotCreate, OutputError, TryAgain) as error:
        if name is not None:
            raise
        cli.warn(f"nothing is put into the translation memory, as with --no-tm: {wording.words(error)[0]}")
    try:
        return Memory(memory_path(cli, name), looks=True)
    except LlmError:
        return None


def remembering(memory: Memory | None) -> Remembered:
    """Return the memory of a job as the task uses it."""
    return Remembered(memory, writable=memory is not None and not memory.looks)


def tell_trouble(cli: Context, remembered: Remembered) -> None:
    """Say that what was translated is not remembered, or not all of it."""
    if remembered.trouble:
        cli.warn(f"the translation memory failed, and the rest was done as with --no-tm: {remembered.trouble}")
    if remembered.outdated:
        names = ", ".join(map(str, remembered.outdated))
        cli.warn(f"the translation memory still describes an earlier {names}: renew it with -o, not with --update")
