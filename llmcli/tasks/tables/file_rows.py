"""Rows that stay in their file: they are read anew each time, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar, overload

R = TypeVar("R")


class FileRows(Sequence[R]):
    """The rows that ``read`` yields from the first one on, ``count`` in all. Slices are read in order, without gaps."""

    def __init__(self, read: Callable[[], Iterator[R]], count: int) -> None:
        self._read = read
        self._count = count
        self._rows = read()
        self._at = 0

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> list[R]: ...

    def __getitem__(self, index: int | slice) -> R | list[R]:
        """Return a row, or consecutive rows. Reading from where the last slice ended is quick."""
        start, stop, _ = (slice(index, index + 1) if isinstance(index, int) else index).indices(self._count)
        if start != self._at:
            self._rows, self._at = self._read(), 0
        found = list(islice(self._rows, start - self._at, max(start, stop) - self._at))
        self._at = max(start, stop)
        return found[0] if isinstance(index, int) else found
