"""Texture matrices from a region's lines, as PyRadiomics 3.0.1 has them after its own clearing up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.images import Levels
from pipeline.radiomics.neighbourhood import Line, Neighbourhood, box_sums

Matrix = npt.NDArray[np.float64]


def glcm(levels: Levels, region: Neighbourhood) -> Matrix:
    """Grey level co-occurrence: shares of neighbouring pairs of levels.

    Returns:
        (1, levels present, levels present, directions with pairs), symmetrical, each
        direction's sum 1; NaN where the only direction has no pair.
    """
    size = len(levels.present)
    counts = [_pairs(levels.ranks, line, size) for line in region.lines]
    matrix = np.stack(counts, axis=-1)[None] if counts else np.zeros((1, size, size, 0))
    matrix += matrix.transpose(0, 2, 1, 3)
    sums = matrix.sum(axis=(1, 2))
    if matrix.shape[3] > 1:
        kept = sums[0] > 0
        matrix, sums = matrix[..., kept], sums[:, kept]
    sums[sums == 0] = np.nan
    matrix /= sums[:, None, None, :]
    return matrix


def _pairs(ranks: npt.NDArray[np.int32], line: Line, size: int) -> Matrix:
    along = ranks[line.order]
    keys = (along[:-1] * size + along[1:])[~line.breaks[1:-1]]
    return np.bincount(keys, minlength=size * size).reshape(size, size).astype(np.float64)


def glrlm(levels: Levels, region: Neighbourhood) -> Matrix:
    """Grey level run lengths: runs by level and length.

    Directions in which no two voxels lie on one line are left out, unless only one direction
    was there to begin with: that one then holds no runs.

    Returns:
        (1, levels present, longest side of the box, directions).
    """
    size, longest = len(levels.present), max(region.mask.shape)
    found = []
    for line in region.lines:
        if line.several:
            found.append(_runs(levels.ranks, line, (size, longest)))
        elif len(region.lines) == 1:
            found.append(np.zeros((size, longest)))
    return np.stack(found, axis=-1)[None] if found else np.zeros((1, size, longest, 0))


def _runs(ranks: npt.NDArray[np.int32], line: Line, shape: tuple[int, int]) -> Matrix:
    along = ranks[line.order]
    ends = line.breaks.copy()
    ends[1:-1] |= along[1:] != along[:-1]
    starts = np.flatnonzero(ends)
    keys = along[starts[:-1]] * shape[1] + (np.diff(starts) - 1)
    return np.bincount(keys, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def ngtdm(levels: Levels, region: Neighbourhood) -> Matrix:
    """Neighbouring grey tone differences.

    Per level: voxels; sum of their distances from the mean level of those of their 26
    neighbours that belong to the lesion (0 for a voxel without any); the level. The sums over
    neighbours are sums over boxes, taken axis by axis.

    Returns:
        (1, levels present, 3).
    """
    centre = levels.present[levels.ranks]
    total = box_sums(levels.array)[region.mask] - centre
    count = region.neighbours
    gap = np.where(count > 0, np.abs(centre - total / np.maximum(count, 1)), 0.0)
    sums = np.bincount(levels.ranks, weights=gap, minlength=len(levels.present))
    return np.stack([levels.counts, sums, levels.present], axis=1)[None].astype(np.float64)
