"""One matrix of orthogonal columns from blocks of features with weights of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from llmcli.fast_dataclass import frozen
from llmcli.tasks.calibration.feature_set import FeatureSet, Matrix

_SMALLEST_SHARE = 1e-10
"""Of the largest squared singular value: directions below it are rounding errors."""


@frozen
class BlockScale:
    """Standardizes a block: (column - ``mean``) * ``scale``, both of the block's width."""

    mean: Matrix
    scale: Matrix

    def apply(self, block: Matrix) -> Matrix:
        """Return the standardized block."""
        return np.asarray((block - self.mean) * self.scale)

    def centred_on(self, block: Matrix) -> BlockScale:
        """Return the same scale around the mean of other rows."""
        return BlockScale(block.mean(axis=0), self.scale)


def measure_scale(block: Matrix) -> BlockScale:
    """Return the scale with which the columns have mean 0 and the squares of a row sum to 1 on average.

    Each column gets the same variance, and a block's columns share the total of 1 whatever their number, so that blocks
    of different widths and units can be weighed against each other. A constant column is left out.
    """
    spread = block.std(axis=0)
    known = spread > 1e-9 * (np.abs(block).max(axis=0) + 1e-30)
    scale = np.where(known, 1 / np.where(known, spread, 1), 0) / np.sqrt(max(1, int(known.sum())))
    return BlockScale(block.mean(axis=0), scale)


def measure_scales(features: FeatureSet) -> dict[str, BlockScale]:
    """Return the scale of each block."""
    return {name: measure_scale(matrix) for name, matrix in features.blocks.items()}


@frozen
class FeatureSpace:
    """Standardized blocks, times their weights, in orthogonal coordinates.

    ``design`` (rows, rank + 1) holds the coordinates of the rows it was made of, and a last column of ones; its columns
    are orthogonal, and ``bound`` holds the sums of their squares.
    """

    scales: Mapping[str, BlockScale]
    weights: Mapping[str, float]
    design: Matrix
    bound: Matrix
    _basis: Matrix

    def columns_to_blocks(self, coefficients: Matrix) -> dict[str, Matrix]:
        """Return the coefficients (rank, n) of coordinates as coefficients (width, n) of the features of each block."""
        whole = self._basis @ coefficients
        found, start = {}, 0
        for name, weight in self.weights.items():
            scale = self.scales[name].scale
            found[name] = np.asarray(whole[start : start + len(scale)] * (weight * scale)[:, None])
            start += len(scale)
        return found


def make_space(features: FeatureSet, scales: Mapping[str, BlockScale], weights: Mapping[str, float]) -> FeatureSpace:
    """Return the space of the blocks that ``weights`` names, by the eigenvectors of the smaller product matrix."""
    scaled = [scales[name].apply(features.blocks[name]) * weight for name, weight in weights.items()]
    matrix = np.concatenate(scaled, axis=1)
    rows, width = matrix.shape
    if rows < width:
        squares, left = np.linalg.eigh(matrix @ matrix.T)
        kept = squares > _SMALLEST_SHARE * max(squares[-1], 1e-300)
        lengths = np.sqrt(squares[kept])
        coordinates = left[:, kept] * lengths
        basis = matrix.T @ (left[:, kept] / lengths)
    else:
        squares, right = np.linalg.eigh(matrix.T @ matrix)
        kept = squares > _SMALLEST_SHARE * max(squares[-1], 1e-300)
        basis = right[:, kept]
        coordinates = matrix @ basis
    design = np.concatenate([coordinates, np.ones((rows, 1))], axis=1)
    return FeatureSpace(scales, weights, design, np.concatenate([squares[kept], [float(rows)]]), basis)
