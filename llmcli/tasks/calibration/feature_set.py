"""The features of texts, as matrices of numbers with one row a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llmcli.fast_dataclass import frozen

Matrix = NDArray[np.float64]


@frozen
class FeatureSet:
    """Named blocks of features; each is a matrix of shape (rows, width), all with the same rows.

    Raises ``ValueError`` if there is no block, or if rows differ, or if a value is not finite.
    """

    blocks: Mapping[str, Matrix]

    def __post_init__(self) -> None:
        shapes = {matrix.shape[0] for matrix in self.blocks.values() if matrix.ndim == 2}  # noqa: PLR2004 (a matrix)
        if len(shapes) != 1 or any(matrix.ndim != 2 for matrix in self.blocks.values()):  # noqa: PLR2004 (a matrix)
            raise ValueError("features are matrices with the same rows")
        if not all(np.isfinite(matrix).all() for matrix in self.blocks.values()):
            raise ValueError("features are finite numbers")

    @cached_property
    def rows(self) -> int:
        """How many texts there are."""
        return int(next(iter(self.blocks.values())).shape[0])

    @property
    def widths(self) -> dict[str, int]:
        """The columns of each block."""
        return {name: int(matrix.shape[1]) for name, matrix in self.blocks.items()}

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> FeatureSet:
        """Return the features of some rows, in their order."""
        index = np.asarray(rows, dtype=np.intp)
        return FeatureSet({name: matrix[index] for name, matrix in self.blocks.items()})


def concatenate(sets: Sequence[FeatureSet]) -> FeatureSet:
    """Return the rows of all sets, which have the same blocks. Raises ``KeyError`` for a missing block."""
    return FeatureSet({name: np.concatenate([each.blocks[name] for each in sets]) for name in sets[0].blocks})
