"""Texture matrices by the standard, of the whole lesion or of each slice, by direction.

Zwanenburg et al., reference manual (arXiv 1612.07003), sections 3.6 to 3.11. Levels that do not
occur have no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.images import BoolArray, Levels
from pipeline.radiomics.neighbourhood import Line, Neighbourhood

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Discretised:
    """Grey levels of a lesion and how they are looked at.

    Attributes:
        levels: Grey levels within the intensity mask.
        intensity: The intensity mask (z, y, x).
        shape: The morphological mask (z, y, x), whose border zones are measured from.
        by_slice: Whether neighbours lie within a slice only (8), or in space (26).
    """

    levels: Levels
    intensity: BoolArray
    shape: BoolArray
    by_slice: bool

    @property
    def size(self) -> int:
        """Number of levels that occur."""
        return len(self.levels.present)

    @property
    def parts(self) -> int:
        """Number of parts that have matrices of their own: slices, or one."""
        return self.intensity.shape[0] if self.by_slice else 1

    def part_of(self, z: IntArray) -> IntArray:
        """The part that voxels of a slice belong to."""
        return z if self.by_slice else np.zeros_like(z)

    def ranks(self) -> npt.NDArray[np.int64]:
        """Rank of each voxel's level (z, y, x), -1 outside of the intensity mask."""
        ranks = np.full(self.intensity.shape, -1, dtype=np.int64)
        ranks[self.intensity] = self.levels.ranks
        return ranks

    def structure(self) -> BoolArray:
        """A voxel and its neighbours (3, 3, 3)."""
        structure = np.ones((3, 3, 3), dtype=bool)
        structure[[0, 2]] = not self.by_slice
        return structure


@dataclass(frozen=True)
class SizeMatrix:
    """Numbers of runs, zones or neighbourhoods by level and size.

    Attributes:
        counts: (matrices, levels that occur, sizes).
        sizes: Size of each column (run length, zone size or distance, dependence).
        voxels: Voxels that each matrix is made of (matrices,).
    """

    counts: Array
    sizes: Array
    voxels: Array


def cooccurrence(lesion: Discretised) -> Array:
    """Numbers of neighbouring pairs of levels, symmetrical (parts, directions, levels, levels)."""
    matrices = []
    for neighbourhood, ranks in _parts(lesion):
        of_part = [_pairs(ranks, line, lesion.size) for line in neighbourhood.lines]
        matrices.append(np.stack(of_part))
    counts: Array = np.stack(matrices)
    return counts + counts.transpose(0, 1, 3, 2)


def _pairs(ranks: npt.NDArray[np.int32], line: Line, size: int) -> Array:
    along = ranks[line.order]
    keys = (along[:-1].astype(np.int64) * size + along[1:])[~line.breaks[1:-1]]
    return np.bincount(keys, minlength=size * size).reshape(size, size).astype(np.float64)


def run_lengths(lesion: Discretised) -> tuple[Array, Array]:
    """Numbers of runs by level and length.

    Returns:
        Counts (parts, directions, levels, lengths), and the voxels of each part (parts,).
    """
    longest = max(lesion.intensity.shape)
    matrices, voxels = [], []
    for neighbourhood, ranks in _parts(lesion):
        of_part = [_runs(ranks, line, (lesion.size, longest)) for line in neighbourhood.lines]
        matrices.append(np.stack(of_part))
        voxels.append(float(len(ranks)))
    return np.stack(matrices), np.array(voxels)


def _runs(ranks: npt.NDArray[np.int32], line: Line, shape: tuple[int, int]) -> Array:
    along = ranks[line.order]
    ends = line.breaks.copy()
    ends[1:-1] |= along[1:] != along[:-1]
    starts = np.flatnonzero(ends)
    keys = along[starts[:-1]].astype(np.int64) * shape[1] + (np.diff(starts) - 1)
    return np.bincount(keys, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def _parts(lesion: Discretised) -> Iterator[tuple[Neighbourhood, npt.NDArray[np.int32]]]:
    """The neighbourhoods of each part that holds voxels, and the ranks of its voxels.

    A margin of a voxel gives every part the same directions (13 in space, 4 in a slice).
    """
    slices = lesion.intensity.any(axis=(1, 2)) if lesion.by_slice else [True]
    counts = lesion.intensity.sum(axis=(1, 2)) if lesion.by_slice else np.array([lesion.intensity.sum()])
    ends = np.cumsum(counts)
    for number in np.flatnonzero(slices):
        mask = lesion.intensity[number : number + 1] if lesion.by_slice else lesion.intensity
        margin = ((0, 0), (1, 1), (1, 1)) if lesion.by_slice else 1
        yield (
            Neighbourhood(np.pad(mask, margin)),
            lesion.levels.ranks[ends[number] - counts[number] : ends[number]],
        )


@dataclass(frozen=True)
class Zones:
    """Connected voxels of one level.

    Attributes:
        rank: Rank of the level of each zone (n,).
        size: Voxels.
        distance: Least distance of a voxel from the border of the morphological mask, 1 at the border.
        part: The part that it lies in.
    """

    rank: IntArray
    size: IntArray
    distance: IntArray
    part: IntArray


def zones(lesion: Discretised) -> Zones:
    """The zones of a lesion: 26-connected in space, 8-connected in slices."""
    from scipy import ndimage

    ranks, border = lesion.ranks(), border_distance(lesion)
    columns: list[tuple[IntArray, IntArray, IntArray, IntArray]] = []
    for rank in range(lesion.size):
        label, number = ndimage.label(ranks == rank, structure=lesion.structure())
        of_voxels = label[label > 0]
        distance = np.full(number, np.iinfo(np.int64).max)
        np.minimum.at(distance, of_voxels - 1, border[label > 0])
        z = np.zeros(number, dtype=np.int64)
        z[of_voxels - 1] = np.nonzero(label)[0]
        sizes = np.bincount(of_voxels, minlength=number + 1)[1:]
        columns.append((np.full(number, rank), sizes, distance, lesion.part_of(z)))
    rank_, size, distance_, part = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Zones(rank_, size, distance_, part)


def border_distance(lesion: Discretised) -> IntArray:
    """Steps through faces from each voxel to the outside of the morphological mask (z, y, x)."""
    from scipy import ndimage

    if not lesion.by_slice:
        padded = np.pad(lesion.shape, 1)
        inner = ndimage.distance_transform_cdt(padded, metric="taxicab")[1:-1, 1:-1, 1:-1]
        return np.asarray(inner, dtype=np.int64)
    slices = [
        ndimage.distance_transform_cdt(np.pad(s, 1), metric="taxicab")[1:-1, 1:-1] for s in lesion.shape
    ]
    return np.asarray(np.stack(slices), dtype=np.int64)


def zone_matrix(lesion: Discretised, rank: IntArray, size: IntArray, part: IntArray) -> SizeMatrix:
    """Numbers of zones by level and size (or distance), a matrix for each part that holds voxels."""
    sizes, column = np.unique(size, return_inverse=True)
    shape = (lesion.parts, lesion.size, len(sizes))
    keys = np.ravel_multi_index((part, rank, column), shape)
    counts = np.bincount(keys, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
    voxels = _voxels_of_parts(lesion)
    return SizeMatrix(counts[voxels > 0], sizes.astype(np.float64), voxels[voxels > 0])


def dependence(lesion: Discretised) -> SizeMatrix:
    """Numbers of voxels by level and by how many in their neighbourhood, themselves included, share it."""
    ranks = np.pad(lesion.ranks(), 1, constant_values=-1)
    centre = ranks[1:-1, 1:-1, 1:-1]
    same = np.zeros(centre.shape, dtype=np.int64)
    for dz, dy, dx in np.argwhere(lesion.structure()):
        nz, ny, nx = centre.shape
        same += ranks[dz : dz + nz, dy : dy + ny, dx : dx + nx] == centre
    z = np.nonzero(lesion.intensity)[0]
    return zone_matrix(
        lesion, lesion.levels.ranks.astype(np.int64), same[lesion.intensity], lesion.part_of(z)
    )


def tone_differences(lesion: Discretised) -> Array:
    """Neighbourhood grey tone differences (parts, levels, 2): voxels with neighbours, sums of differences.

    The difference is that of a voxel's level from the mean level of its neighbours in the intensity
    mask; voxels without any do not count.
    """
    from scipy import ndimage

    level = lesion.levels.array.astype(np.float64)
    kernel = lesion.structure().astype(np.float64)
    kernel[1, 1, 1] = 0
    total = ndimage.convolve(level, kernel, mode="constant")[lesion.intensity]
    neighbours = ndimage.convolve(lesion.intensity.astype(np.float64), kernel, mode="constant")
    count = np.round(neighbours[lesion.intensity])
    valid = count > 0
    gap = np.abs(level[lesion.intensity] - total / np.maximum(count, 1))[valid]
    part = lesion.part_of(np.nonzero(lesion.intensity)[0])[valid]
    keys = part * lesion.size + lesion.levels.ranks[valid]
    cells = lesion.parts * lesion.size
    numbers = np.bincount(keys, minlength=cells).astype(np.float64)
    sums = np.bincount(keys, weights=gap, minlength=cells)
    whole: Array = np.stack([numbers, sums], axis=-1).reshape(lesion.parts, lesion.size, 2)
    return whole[_voxels_of_parts(lesion) > 0]


def _voxels_of_parts(lesion: Discretised) -> Array:
    if lesion.by_slice:
        return np.asarray(lesion.intensity.sum(axis=(1, 2)), dtype=np.float64)
    return np.array([float(lesion.intensity.sum())])
