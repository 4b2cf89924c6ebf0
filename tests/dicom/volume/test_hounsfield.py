"""CT values that are no Hounsfield units: refused, while padding, metal and crops without air are used."""

import numpy as np
import pytest
from pydicom import dcmread

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


def test_a_ct_of_unspecified_unit_is_used_if_it_shows_air_and_tissue_of_hu(tmp_path):
    grid = Grid((12, 20, 20), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    series = {
        "HU": (body(), True),
        "HU above air at 24, as stored": (body() + 1024, False),
        "electron density in %": ((body() / 1000 + 1) * 100, False),  # air 0, water 100
        "iodine, 0 to 5 mg/mL": (np.random.default_rng(1).uniform(0, 5, grid.shape), False),
        "HU without air": (np.tile(body()[:, 6:14, 6:14], (1, 3, 3))[:, :20, :20], False),
    }
    for name, (values, fine) in series.items():
        ct = Volume(values.astype(np.float32), grid, "ct_hu")
        if fine:
            require_hounsfield(ct, unspecified=True)
            continue
        with pytest.raises(DicomError, match="not in Hounsfield units"):
            require_hounsfield(ct, unspecified=True)
            pytest.fail(name)
    folder = written(tmp_path / "in", body()[:, 6:14, 6:14])
    assert convert(folder, tmp_path / "told")  # no unit given, a crop of HU
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.RescaleType = "US"
        dataset.save_as(path)
    with pytest.raises(DicomError, match="Rescale Type is US"):
        convert(folder, tmp_path / "unspecified")
