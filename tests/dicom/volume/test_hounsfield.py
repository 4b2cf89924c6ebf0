"""CT values that are no Hounsfield units: refused, while padding, metal and crops without air are used."""

import re

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.dicom.volume.hounsfield import hounsfield_warnings, require_hounsfield
from pipeline.errors import DicomError
from pipeline.tables.status import read_status
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


def scan():
    """HU as a scanner gives them: air, fat, muscle and bone by their published CT numbers, noise of 15 HU."""
    rng = np.random.default_rng(4)
    hu = np.full((10, 40, 40), -1000.0)
    hu[:, 4:36, 4:36], hu[:, 7:33, 7:33] = -100, 50
    hu[:, 14:22, 14:22] = rng.uniform(150, 1200, (10, 8, 8))
    return (hu + rng.normal(0, 15, hu.shape)).round().clip(-1024)


GRID = Grid((10, 40, 40), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
CUT = {
    # What a display window of level and width 40 and 400 leaves: from -160 to 240.
    "window of soft tissue": (
        scan().clip(-160, 240),
        ["no air", "lowest value, -160 and .* highest value, 240"],
    ),
    "window, with padding": (np.where(scan() < -900, -1024, scan().clip(-160, 240)), ["highest value, 240"]),
    "negatives cut": (scan().clip(0), ["no air", "lowest value, 0;"]),
    "bone cut": (scan().clip(None, 400), ["highest value, 400;"]),
    "window of lung": (scan().clip(-1350, 150), ["highest value, 150;"]),
}
WHOLE = {
    "as scanned": scan(),
    "inside of the body, padded": np.where(scan() < -200, -1024, scan()),
    "another padding": np.where(scan() < -900, -3024, scan()),
    "clipped to what the body has": scan().clip(-1000, 1000),
    "a phantom of four materials": np.digitize(scan(), [-500, 0, 100]) * 340.0 - 1000,
    "values in steps of 8": (scan() / 8).round() * 8,
}


@pytest.mark.parametrize("name", CUT)
def test_values_cut_at_an_end_are_told(name):
    hu, words = CUT[name]
    ct = Volume(hu.astype(np.float32), GRID, "ct_hu")
    require_hounsfield(ct)
    told = hounsfield_warnings(ct)
    assert len(told) == len(words) and all(re.search(w, t) for w, t in zip(words, told, strict=True)), told


@pytest.mark.parametrize("name", WHOLE)
def test_whole_ranges_are_not_told(name):
    assert hounsfield_warnings(Volume(WHOLE[name].astype(np.float32), GRID, "ct_hu")) == []


def test_a_crop_without_air_is_told_of_that_alone():
    crop = scan()[:, 24:32, 24:32]
    ct = Volume(crop.astype(np.int16), Grid(crop.shape, (3.0, 1.0, 1.0), (0.0, 0.0, 0.0)), "ct_hu")
    assert [text[:20] for text in hounsfield_warnings(ct)] == ["the CT holds no air "]


def test_padding_that_became_air_hides_no_window():
    inside = Volume((scan() > -900).astype(np.uint8), GRID, "imaged")
    ct = Volume(np.where(inside.array > 0, scan().clip(-160, 240), -1024), GRID, "ct_hu")
    assert "no air" in hounsfield_warnings(ct, inside)[0]


def test_a_ct_of_dicom_that_was_cut_is_told(tmp_path):
    convert(written(tmp_path / "in", scan().clip(0)), tmp_path)
    problem = read_status(tmp_path / "convert").problem
    assert "the CT holds no air (lowest value 0)" in problem and "exactly the lowest value, 0" in problem
    convert(written(tmp_path / "whole", scan()), tmp_path / "other")
    assert read_status(tmp_path / "other" / "convert").state == "ok"


def test_grey_levels_of_a_display_are_refused(tmp_path):
    # A window of 400 HU around 40 in 8 bits, as viewers export it: 255 for 240 HU.
    grey = ((scan() + 160) / 400 * 255).round().clip(0, 255)
    with pytest.raises(DicomError, match="not in Hounsfield units.*grey levels of a display, 0 to 255"):
        convert(written(tmp_path / "in", grey - 1024, intercept=0.0), tmp_path)
