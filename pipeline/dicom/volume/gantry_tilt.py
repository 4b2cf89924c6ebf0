"""Stacks of a tilted gantry made rectangular: each slice is shifted within its own plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.dicom.volume.pixels import Array
from pipeline.volumes.volume import FloatArray, Volume


def straighten(volume: Volume, shear_mm: FloatArray) -> Volume:
    """Shift slice k back by k times the shear, by linear interpolation in its plane.

    Args:
        volume: The sheared stack, on the grid on which its first slice lies where it should.
        shear_mm: Sideways shift from slice to slice, along x and along y.

    Returns:
        The volume on a wider grid that holds all slices, of the same spacing and direction, its
        array of the same type. Voxels where nothing was imaged have the least value of the
        stack (air).
    """
    array, grid = volume.array, volume.grid
    spacing = np.array(grid.spacing_mm[:0:-1])
    ends = (len(array) - 1) * shear_mm / spacing
    low = np.floor(np.minimum(ends, 0.0)).astype(int)
    room = np.ceil(np.maximum(ends, 0.0)).astype(int) - low
    rows, columns = array.shape[1] + room[1], array.shape[2] + room[0]
    wide = np.full((len(array), rows, columns), array.min(), dtype=array.dtype)
    for number, frame in enumerate(array):
        x, y = number * shear_mm / spacing - low
        _insert(frame.astype(np.float64), (float(y), float(x)), wide[number])
    axes = np.asarray(grid.direction)[:, :2]
    origin = np.asarray(grid.origin_mm) + axes @ (low * spacing)
    moved = replace(grid, shape=wide.shape, origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])))
    return Volume(wide, moved, volume.quantity)


def _insert(frame: FloatArray, shift: tuple[float, float], into: Array) -> None:
    """Write a frame into a larger one that holds background only.

    Args:
        frame: The frame (rows, columns).
        shift: Where its first voxel belongs: row and column, with fractions.
        into: The larger frame, changed in place.
    """
    low, air = np.floor(shift).astype(int), float(into[0, 0])
    part_y, part_x = np.asarray(shift) - low
    padded = np.pad(frame, 1, constant_values=air)
    blended = (
        (1 - part_y) * (1 - part_x) * padded[1:, 1:]
        + (1 - part_y) * part_x * padded[1:, :-1]
        + part_y * (1 - part_x) * padded[:-1, 1:]
        + part_y * part_x * padded[:-1, :-1]
    )
    values = np.rint(blended) if into.dtype.kind in "iu" else blended
    target = into[low[0] : low[0] + len(values), low[1] : low[1] + values.shape[1]]
    target[...] = values[: target.shape[0], : target.shape[1]]
