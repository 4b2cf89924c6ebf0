"""The voxel neighbourhoods of a lesion, which all its images share: lines in 13 directions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.images import BoolArray

Direction = tuple[int, int, int]


@dataclass(frozen=True)
class Line:
    """All voxels of a lesion, line by line along one direction.

    Attributes:
        order: Voxel numbers (n,), in the order of the mask, sorted along the lines.
        breaks: (n + 1,) whether voxel k of the order does not touch voxel k - 1 along the
            direction; true at both ends.
        several: Whether any line holds more than one voxel.
    """

    order: npt.NDArray[np.int64]
    breaks: BoolArray
    several: bool


class Neighbourhood:
    """The neighbourhoods of the voxels of a lesion, in its box.

    Args:
        mask: (z, y, x), not empty.
    """

    def __init__(self, mask: BoolArray) -> None:
        self.mask = mask

    def __getstate__(self) -> dict[str, BoolArray]:
        # Derived arrays are larger than the mask and quickly computed again in another process.
        return {"mask": self.mask}

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Lines along each direction that fits into the box, one of each pair of opposite directions."""
        return tuple(_line(self.mask, d) for d in _directions(self.mask.shape))

    @cached_property
    def neighbours(self) -> npt.NDArray[np.int32]:
        """Number of the 26 neighbours of each voxel that belong to the lesion (n,)."""
        count: npt.NDArray[np.int32] = box_sums(self.mask.astype(np.int32))[self.mask] - 1
        return count


def _directions(shape: tuple[int, ...]) -> list[Direction]:
    every = product((-1, 0, 1), repeat=3)
    return [
        (dz, dy, dx)
        for dz, dy, dx in every
        if (dz, dy, dx) > (0, 0, 0) and all(abs(d) < n for d, n in zip((dz, dy, dx), shape, strict=True))
    ]


def _line(mask: BoolArray, direction: Direction) -> Line:
    """Voxels sorted by the line they lie on, ascending within a line as in the order of the mask."""
    index = np.stack(np.nonzero(mask)).astype(np.int32)
    along = next(axis for axis in range(3) if direction[axis])
    step = index[along]
    first, second = (index[axis] - direction[axis] * step for axis in range(3) if axis != along)
    number = (first - first.min()) * (second.max() - second.min() + 1) + (second - second.min())
    order = np.argsort(number, kind="stable")
    sorted_number, sorted_step = number[order], step[order]
    same = sorted_number[1:] == sorted_number[:-1]
    breaks = np.ones(len(order) + 1, dtype=bool)
    breaks[1:-1] = ~same | (sorted_step[1:] != sorted_step[:-1] + 1)
    return Line(order, breaks, bool(same.any()))


def box_sums(array: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Sums over the 3×3×3 box of each voxel; beyond the borders everything is 0."""
    for axis in range(3):
        before = np.moveaxis(array, axis, 0)
        after = before.copy()
        after[1:] += before[:-1]
        after[:-1] += before[1:]
        array = np.moveaxis(after, 0, axis)
    return array
