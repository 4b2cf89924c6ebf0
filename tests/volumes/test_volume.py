"""Grids and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import GeometryError
from pipeline.volumes.nifti import read_grid, read_nifti, write_nifti
from pipeline.volumes.volume import Grid, Volume, require_same_grid

TURNED = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))


def test_points_by_hand() -> None:
    grid = Grid((4, 5, 6), (3.0, 2.0, 1.0), (10.0, 20.0, 30.0))
    # Index (z, y, x) = (1, 2, 3): x = 10 + 3*1, y = 20 + 2*2, z = 30 + 1*3.
    assert grid.points([[1, 2, 3]]).tolist() == [[13, 24, 33]]
    assert grid.indices([[13, 24, 33]]) == pytest.approx(np.array([[1, 2, 3]]))
    turned = Grid((4, 5, 6), (3.0, 2.0, 1.0), (0.0, 0.0, 0.0), TURNED)
    # The array's x axis points along patient +y, its y axis along patient −x.
    assert turned.points([[0, 1, 1]]).tolist() == [[-2, 1, 0]]


def test_nifti_round_trip_keeps_geometry_and_values(tmp_path: Path) -> None:
    array = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
    volume = Volume(array, Grid((4, 5, 6), (3.0, 2.0, 1.0), (-10.0, 20.0, 30.5), TURNED), "pet_suvbw")
    write_nifti(tmp_path / "a.nii.gz", volume)
    back = read_nifti(tmp_path / "a.nii.gz", "pet_suvbw")
    assert back.grid.matches(volume.grid) and (back.array == array).all() and back.array.dtype == np.float32
    assert read_grid(tmp_path / "a.nii.gz").matches(volume.grid)


def test_mismatch_prints_both_geometries() -> None:
    first, second = Grid((4, 5, 6), (1, 1, 1), (0, 0, 0)), Grid((4, 5, 7), (1, 1, 1), (0, 0, 0))
    with pytest.raises(GeometryError, match="4×5×6.*4×5×7"):
        require_same_grid(first, second, "mask and CT")
    with pytest.raises(GeometryError):
        Volume(np.zeros((1, 2, 3)), first)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(b"no image")
    with pytest.raises(GeometryError, match="cannot be read"):
        read_nifti(tmp_path / "x.nii.gz")
