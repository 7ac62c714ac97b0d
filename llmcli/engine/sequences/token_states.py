"""The hidden states of a sequence's evaluated tokens, which sequences with the same prefix share."""

from __future__ import annotations

from typing import Any

from llmcli.errors import InternalError


class TokenStates:
    """Rows of float32, one for each token from the first one on.

    All rows are kept, not only their sum: another sequence may reuse any part of a cached prefix, whose states cannot be
    had from memory again. They take about a tenth of what the KV cache takes for the same tokens.
    """

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, rows: Any) -> None:
        """Add a copy of the next tokens' rows, (tokens, width) float32."""
        self._parts.append(rows.copy())
        self._length += len(rows)

    def prefix(self, length: int) -> TokenStates:
        """Return the states of the first ``length`` tokens. Raises ``InternalError`` if there are fewer."""
        part = TokenStates()
        for rows in self._parts:
            taken = rows[: length - part._length]
            if not len(taken):
                break
            part._parts.append(taken)
            part._length += len(taken)
        if part._length < length:
            raise InternalError("hidden states", detail=f"{length} tokens are cached, but only {part._length} states")
        return part

    def mean(self, length: int) -> bytes:
        """Return the mean of the first ``length`` rows as little-endian floats, independent of how they arrived."""
        import numpy as np

        return bytes(np.concatenate(self._parts)[:length].mean(axis=0, dtype=np.float64).astype("<f4").tobytes())

    def row(self, index: int) -> bytes:
        """Return one row as little-endian floats."""
        for rows in self._parts:
            if index < len(rows):
                return bytes(rows[index].astype("<f4").tobytes())
            index -= len(rows)
        raise IndexError(index)
