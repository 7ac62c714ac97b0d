"""The sentences of a text with their vectors, in a temporary file if they are many, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmcli.tasks.summarize.key_sentences import SentenceCandidate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_ROWS = 1024
_MAX_MEMORY_BYTES = 8 << 20


class SentenceStore:
    """Keeps sentences by their numbers, which may be added in any order; vectors have 16 bits for each number.

    ``eligible`` counts the sentences that may stand in a summary, ``eligible_words`` their words.
    """

    def __init__(self) -> None:
        from tempfile import SpooledTemporaryFile

        self._file = SpooledTemporaryFile(_MAX_MEMORY_BYTES)  # noqa: SIM115 (closed by ``close``)
        self._row: Any = None
        self._count = 0
        self.eligible = self.eligible_words = 0

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def add(self, number: int, sentence: SentenceCandidate, vector: NDArray[np.float32]) -> None:
        """Add a sentence. All vectors have the same length."""
        import numpy as np

        if self._row is None:
            fields = [("start", "<u8"), ("end", "<u8"), ("words", "<u4"), ("eligible", "?"), ("begins", "?")]
            self._row = np.dtype([*fields, ("vector", "<f2", vector.shape)])
        row = np.zeros((), dtype=self._row)
        row["start"], row["end"], row["words"] = sentence.start, sentence.end, sentence.words
        row["eligible"], row["begins"], row["vector"] = sentence.eligible, sentence.begins_paragraph, vector
        self._file.seek(number * self._row.itemsize)
        self._file.write(row.tobytes())
        self._count += 1
        self.eligible += sentence.eligible
        self.eligible_words += sentence.words * sentence.eligible

    def blocks(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """Yield the number of the first sentence of each block, and the rows of the block.

        A row has the fields ``start``, ``end``, ``words``, ``eligible``, ``begins`` and ``vector``.
        """
        import numpy as np

        for first in range(0, self._count, BLOCK_ROWS):
            self._file.seek(first * self._row.itemsize)
            data = self._file.read(min(BLOCK_ROWS, self._count - first) * self._row.itemsize)
            yield first, np.frombuffer(data, dtype=self._row)
