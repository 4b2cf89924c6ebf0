"""Planes to one grid: where every voxel lies, and which stacks are refused."""

import itertools

import numpy as np
import pytest

from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings
from tests.dicom.volume.convert_helpers import convert, ct_of, drop, moved
from tests.dicom.write_dicom import POSITIONS, Recipe, voxels, write_series


@pytest.mark.parametrize("axes", POSITIONS.values(), ids=POSITIONS.keys())
def test_every_voxel_lies_where_its_slice_says(tmp_path, axes):
    # Truth: PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1: P = S + row cosine·Δx·x + column cosine·Δy·y.
    recipe = Recipe(orientation=tuple(axes[:, 0]) + tuple(axes[:, 1]))
    values = voxels()
    volume = ct_of(convert(write_series(tmp_path / "in", values, recipe), tmp_path))
    for z, y, x in itertools.product((0, 5, 11), (0, 9), (0, 7)):
        truth = np.asarray(recipe.position(z)) + axes[:, 0] * x * 1.5 + axes[:, 1] * y * 2.0
        np.testing.assert_allclose(volume.grid.points([z, y, x])[0], truth, atol=2e-3)
    assert np.array_equal(volume.array, values.astype(int) - 1024)
    assert volume.array.dtype == np.int16


def turned(ds, number):
    if number == 4:
        ds.ImageOrientationPatient = [0.9998477, 0.0174524, 0, -0.0174524, 0.9998477, 0]


def resized(ds, number):
    if number == 4:
        ds.Rows, ds.Columns = 8, 10


def respaced(ds, number):
    if number == 4:
        ds.PixelSpacing = [2.1, 1.5]


REFUSED = [
    ("a slice missing", moved(lambda n: (0, 0, 0)), (5,), "1 slice is missing"),
    ("three missing in two places", moved(lambda n: (0, 0, 0)), (3, 7, 8), "3 slices are missing"),
    ("uneven", moved(lambda n: (0, 0, 0.7 if n > 6 else 0)), (), "unevenly spaced"),
    ("gantry tilt of 10°", moved(lambda n: (0, n * 0.529, 0)), (), "tilted gantry.*10°"),
    ("sideways step", moved(lambda n: (5.0 if n > 6 else 0, 0, 0)), (), "sideways"),
    ("two slices at a place", moved(lambda n: (0, 0, -3.0 if n == 5 else 0)), (), "one position"),
    ("orientation", turned, (), "orientation"),
    ("matrix size", resized, (), "matrix size"),
    ("pixel spacing", respaced, (), "pixel spacing"),
]


@pytest.mark.parametrize(("edit", "gone", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(tmp_path, edit, gone, words):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), edit)
    drop(gone)(folder)
    with pytest.raises(DicomError, match=words):
        convert(folder, tmp_path)


def test_tolerance_decides_what_is_uneven(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), moved(lambda n: (0, 0, 0.15 * (n % 2))))
    with pytest.raises(DicomError, match="unevenly"):
        convert(folder, tmp_path / "a")
    assert convert(folder, tmp_path / "b", settings=ConvertSettings(spacing_tolerance_mm=0.5)).is_dir()


def test_a_moved_table_is_refused_even_where_tilt_is_allowed(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), moved(lambda n: (5.0 if n > 6 else 0, 0, 0)))
    with pytest.raises(DicomError, match="sideways"):
        convert(folder, tmp_path, settings=ConvertSettings(gantry_tilt="resample"))
