"""Reading inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmcli.interrupt import Interrupt


@dataclass(frozen=True)
class Document:
    """A text and where it came from. ``name`` is as the user typed it, "-" for stdin; ``bom``: it began with one."""

    name: str
    text: str
    path: Path | None = None
    bom: bool = False


def decode(data: bytes, name: str) -> tuple[str, bool]:
    """Return the text and whether a byte order mark was taken off. Raises ``BinaryInput`` and ``NotUtf8``."""
    raise NotImplementedError


def read_file(name: str, interrupt: Interrupt | None = None) -> Document:
    """Read a file, a named pipe or a device. Raises ``MissingError`` (kind "input"), ``IsADirectory``, as ``decode``."""
    raise NotImplementedError


def read_stdin(
    fd: int, interrupt: Interrupt, waiting: Callable[[], None] | None = None, patience: float = 2.0
) -> bytes:
    """Read a descriptor to its end; calls ``waiting`` once after ``patience`` seconds without data."""
    raise NotImplementedError
