"""CT values that are no Hounsfield units: refused, while padding, metal and crops without air are used."""

import numpy as np
import pytest

from pipeline.dicom.volume.hounsfield import require_hounsfield
from pipeline.errors import DicomError
from pipeline.volumes.volume import Grid, Volume
from tests.dicom.volume.convert_helpers import convert, ct_of
from tests.dicom.write_dicom import Recipe, write_series


def body(shape=(12, 20, 20)):
    """HU: air, a body of muscle with fat and bone, with noise of 15 HU (published CT numbers, 1000 · (µ/µw - 1))."""
    hu = np.full(shape, -1000.0)
    hu[:, 4:16, 4:16], hu[:, 6:14, 6:14], hu[:, 9:11, 9:11] = -100, 50, 900
    return (hu + np.random.default_rng(1).normal(0, 15, shape)).round()


def written(folder, hu, slope=1.0, intercept=-1024.0):
    """Stored as (HU + 1024), whatever the headers then say."""
    values = (hu + 1024).clip(0).astype(np.uint16)
    return write_series(folder, values, Recipe(slope=slope, intercept=intercept))


def test_hounsfield_units_are_used(tmp_path):
    hu = body().clip(-1024)
    assert np.array_equal(ct_of(convert(written(tmp_path / "in", hu), tmp_path)).array, hu)


@pytest.mark.parametrize(
    ("slope", "intercept", "words"),
    [
        (1.0, 0.0, "air near -1000 where much is as dense as bone"),
        (1.0, -2048.0, "no values below air|soft tissue"),
        (0.1, -1024.0, "soft tissue"),
        (10.0, -1024.0, "-3100 to 5000"),
    ],
)
def test_a_wrong_rescale_is_refused(tmp_path, slope, intercept, words):
    folder = written(tmp_path / "in", body(), slope, intercept)
    with pytest.raises(DicomError, match=f"not in Hounsfield units.*({words})"):
        convert(folder, tmp_path)


def test_crops_padding_and_lung_are_hounsfield_units():
    grid = Grid((12, 20, 20), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))

    def check(hu):
        require_hounsfield(Volume(hu.astype(np.int16), grid, "ct_hu"))

    inside = body()[:, 6:14, 6:14]  # no air
    check(np.tile(inside, (1, 3, 3))[:, :20, :20])
    for padding in (-3024, -2048, -32768):
        padded = body()
        padded[:, :3], padded[:, :, :3] = padding, padding
        check(padded)
    lung = body()
    lung[:, :, :13] = np.random.default_rng(2).normal(-850, 40, (12, 20, 13))
    check(lung)
    check(np.full(grid.shape, -1000))
