"""Writing ``-o FILE``: complete or untouched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llmcli.interrupt import Interrupt


class Output:
    """Where the bytes go."""

    def write(self, data: bytes) -> None:
        """Write all of ``data``. Raises ``OutputError``, ``ReaderGone``."""
        raise NotImplementedError


@contextmanager
def atomic_write(path: str, *, force: bool = True, interrupt: Interrupt | None = None) -> Iterator[Output]:
    """Open ``path`` for writing. Raises ``CannotCreate`` and ``OutputError``."""
    raise NotImplementedError
    yield Output()
