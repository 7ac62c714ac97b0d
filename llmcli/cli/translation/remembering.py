"""The translation memory that a command means: the user's own, or the file of --tm."""

from __future__ import annotations

from pathlib import Path

from llmcli.cli.context import Context
from llmcli.errors import MissingError, OutputError
from llmcli.store.memory import Memory


def memory_path(cli: Context, name: str | None) -> Path:
    """Return where it lies."""
    return cli.paths.memory if name is None else Path(name)


def open_memory(cli: Context, name: str | None, *, looks: bool = False) -> Memory:
    """Open it; it is made where it is not there, of a directory only the user's own.

    With ``looks`` a file that was named has to be there, else ``MissingError``. Raises what ``Memory`` raises.
    """
    path = memory_path(cli, name)
    if name is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(str(path), detail=error.strerror or "") from error
    elif looks and not path.exists():
        raise MissingError(name, kind="translation memory")
    return Memory(path)
