"""Stacks of a tilted gantry made straight: each slice moved within its own plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.dicom.header.geometry import FloatArray
from pipeline.dicom.volume.pixels import Array
from pipeline.volumes.volume import Grid


def straighten(array: Array, grid: Grid, step_mm: FloatArray) -> tuple[Array, Grid]:
    """Move slice k back by k steps, by linear interpolation, on a grid that holds all of them.

    Args:
        array: (z, y, x).
        grid: The grid on which slice 0 lies where it should.
        step_mm: Sideways step from slice to slice: along x, along y.

    Returns:
        The array on the wider grid, in its own type, and that grid. Where nothing was
        imaged stands the least value of the stack (air).
    """
    spacing = np.array(grid.spacing_mm[:0:-1])
    ends = (len(array) - 1) * step_mm / spacing
    low = np.floor(np.minimum(ends, 0.0)).astype(int)
    room = np.ceil(np.maximum(ends, 0.0)).astype(int) - low
    rows, columns = array.shape[1] + room[1], array.shape[2] + room[0]
    wide = np.full((len(array), rows, columns), array.min(), dtype=array.dtype)
    for number, frame in enumerate(array):
        x, y = number * step_mm / spacing - low
        _put(frame.astype(np.float64), (float(y), float(x)), wide[number])
    axes = np.asarray(grid.direction)[:, :2]
    origin = np.asarray(grid.origin_mm) + axes @ (low * spacing)
    moved = replace(grid, shape=wide.shape, origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])))
    return wide, moved


def _put(frame: FloatArray, shift: tuple[float, float], into: Array) -> None:
    """Write a frame, moved by some rows and columns, into a larger one of its background."""
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
