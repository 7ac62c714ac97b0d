"""The texts of a stream that are nearest to a query, by the cosine of their vectors; memory does not grow with them.

Vectors and texts wait in a temporary file, since the mean and the deviation of all vectors are taken out first, as in
``passage_embedder.rank_by_similarity``.
"""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Sequence
from tempfile import TemporaryFile
from typing import IO, Any

from llmcli.fast_dataclass import frozen
from llmcli.tasks.retrieval.passage_embedder import shrunk_deviations

_BLOCK_ROWS = 4096
_MIN_CENTRED = 3
"""With fewer texts, the mean says more about them than about the model."""


@frozen
class NearText:
    """A text, where it stands (``file`` is "" if there is one input), and its cosine with the query."""

    file: str
    line: int
    text: str
    score: float


class NearestTexts:
    """Collects texts with their vectors, all of one length, then ranks them."""

    def __init__(self) -> None:
        self._vectors: IO[bytes] = TemporaryFile()  # noqa: SIM115 (closed by ``close``)
        self._texts: IO[bytes] = TemporaryFile()  # noqa: SIM115 (closed by ``close``)
        self._offsets = array("Q")
        self._sum: Any = 0.0
        self._squares: Any = 0.0

    def __len__(self) -> int:
        return len(self._offsets)

    def close(self) -> None:
        """Remove the temporary files."""
        self._vectors.close()
        self._texts.close()

    def add(self, file: str, line: int, text: str, vector: Sequence[float]) -> None:
        """Add a text."""
        import numpy as np

        row = np.asarray(vector, dtype=np.float32)
        self._sum = self._sum + row.astype(np.float64)
        self._squares = self._squares + row.astype(np.float64) ** 2
        self._vectors.write(row.tobytes())
        self._offsets.append(self._texts.tell())
        self._texts.write(json.dumps([file, line, text]).encode() + b"\n")

    def nearest(self, query: Sequence[float], count: int, minimum: float = -1.0) -> list[NearText]:
        """Return the ``count`` texts most similar to a query, the most similar first, of equal ones the first."""
        import numpy as np

        if not len(self):
            return []
        width = len(query)
        mean, deviations = np.zeros(width), np.ones(width)
        if len(self) >= _MIN_CENTRED:
            mean = self._sum / len(self)
            variances = np.maximum(self._squares / len(self) - mean**2, 0)
            deviations = shrunk_deviations(variances, len(self))
        wanted = (np.asarray(query, dtype=np.float64) - mean) / deviations
        wanted /= float(np.linalg.norm(wanted)) or 1.0
        best: list[tuple[float, int]] = []
        self._vectors.seek(0)
        for first in range(0, len(self), _BLOCK_ROWS):
            data = self._vectors.read(4 * width * min(_BLOCK_ROWS, len(self) - first))
            rows: Any = np.frombuffer(data, dtype=np.float32).reshape(-1, width)
            rows = (rows - mean) / deviations
            norms = np.linalg.norm(rows, axis=1)
            cosines = (rows @ wanted) / np.where(norms > 0, norms, 1.0)
            found = ((float(cosine), -first - index) for index, cosine in enumerate(cosines.tolist()))
            best = heapq.nlargest(count, [*best, *(each for each in found if each[0] >= minimum)])
        return [self._read(-negative, cosine) for cosine, negative in best]

    def _read(self, index: int, score: float) -> NearText:
        self._texts.seek(self._offsets[index])
        file, line, text = json.loads(self._texts.readline())
        return NearText(file, line, text, score)
