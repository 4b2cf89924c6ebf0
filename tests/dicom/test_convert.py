"""Series to volumes: intensities and geometry against what was written, and what is refused."""

import itertools
import json
import random

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from pipeline.dicom.convert import convert_patient
from pipeline.dicom.index import index_patient
from pipeline.errors import DicomError, PatientError
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import read_nifti
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series

CT_ONLY = IndexSettings(modalities=("ct",), min_slices=2)


def convert(folder, out, index=CT_ONLY, settings=None):
    index_patient(PatientFiles("P1", folder), index, out / "index", "stop")
    convert_patient(out / "index", out / "convert", settings or ConvertSettings(), "stop")
    return out / "convert"


def ct_of(folder):
    return read_nifti(folder / "ct_hu.nii.gz", "ct_hu")


def rotation(degrees, axis):
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    about = {"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}
    return np.asarray(about[axis])


POSITIONS = {
    "head first supine": np.eye(3),
    "feet first supine": np.diag([-1.0, 1.0, -1.0]),
    "prone": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": rotation(17, "x") @ rotation(-9, "z"),
}


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


def test_files_are_sorted_by_position_not_by_name_or_number(tmp_path):
    names = random.Random(1).sample(range(12), 12)
    values = voxels()

    def edit(ds, number):
        ds.InstanceNumber = 100 - number

    folder = write_series(tmp_path / "in", values, Recipe(), edit, lambda n: f"IM{names[n]}")
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, values.astype(int) - 1024)


def test_pet_applies_each_slices_own_rescale(tmp_path):
    def edit(ds, number):
        ds.RescaleSlope = str(0.5 + number)

    folder = write_pair(tmp_path / "in", pet_edit=edit)
    out = convert(folder, tmp_path, IndexSettings())
    pet = read_nifti(out / "pet_stored.nii.gz").array
    truth = voxels((9, 7, 6), seed=4) * (0.5 + np.arange(9))[:, None, None]
    np.testing.assert_allclose(pet, truth, rtol=1e-6)
    assert pet.dtype == np.float32


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda u: u.name)
def test_compressed_pixels(tmp_path, syntax):
    values = voxels((4, 64, 64))

    def edit(ds, _):
        ds.compress(syntax, generate_instance_uid=False)

    folder = write_series(tmp_path / "in", values, Recipe(), edit)
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, values.astype(int) - 1024)


def test_overlay_bits_above_the_stored_ones_are_dropped(tmp_path):
    values = voxels((4, 10, 8))

    def edit(ds, _):
        ds.BitsStored, ds.HighBit = 12, 11

    folder = write_series(tmp_path / "in", values | 0x9000, Recipe(), edit)
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, values.astype(int) - 1024)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1.0, -1024.0, "int16"), (0.5, 0.0, "float32"), (20.0, 0.0, "float32")]
)
def test_whole_numbers_stay_whole_where_they_fit(tmp_path, slope, intercept, dtype):
    values = voxels((4, 10, 8))
    values[2, 0, 0] = 3000  # × 20 leaves int16 in the third slice, after two that fit
    values[:2] //= 2
    folder = write_series(tmp_path / "in", values, Recipe(slope=slope, intercept=intercept))
    volume = ct_of(convert(folder, tmp_path))
    assert str(volume.array.dtype) == dtype
    assert np.array_equal(volume.array, values.astype(np.float64) * slope + intercept)


def drop(numbers):
    def after(folder):
        for number in numbers:
            (folder / f"{number:03d}.dcm").unlink()

    return after


def moved(shift):
    """An edit that moves slices: `shift(number)` mm in x, y, z."""

    def edit(ds, number):
        ds.ImagePositionPatient = [
            float(p) + s for p, s in zip(ds.ImagePositionPatient, shift(number), strict=True)
        ]

    return edit


def turned(ds, number):
    if number == 4:
        ds.ImageOrientationPatient = [0.9998477, 0.0174524, 0, -0.0174524, 0.9998477, 0]


def resized(ds, number):
    if number == 4:
        ds.Rows, ds.Columns = 8, 10


def respaced(ds, number):
    if number == 4:
        ds.PixelSpacing = [2.1, 1.5]


def cut_pixels(ds, number):
    if number == 4:
        ds.PixelData = ds.PixelData[:100]


def without(keyword, number=4):
    def edit(ds, n):
        if n == number:
            delattr(ds, keyword)

    return edit


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
    ("truncated pixels", cut_pixels, (), "cannot be decoded"),
    ("no pixels", without("PixelData"), (), "cannot be decoded"),
    ("no rescale in a CT", without("RescaleSlope"), (), None),
]


@pytest.mark.parametrize(("edit", "gone", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(tmp_path, edit, gone, words):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), edit)
    drop(gone)(folder)
    if words is None:  # a slope that is absent beside an intercept is 1 by PS3.3 C.11.1.1.2
        assert ct_of(convert(folder, tmp_path)).array.dtype == np.int16
        return
    with pytest.raises(DicomError, match=words):
        convert(folder, tmp_path)


def test_ct_without_any_rescale_is_refused(tmp_path):
    def edit(ds, _):
        del ds.RescaleSlope, ds.RescaleIntercept

    with pytest.raises(DicomError, match="Hounsfield"):
        convert(write_series(tmp_path / "in", voxels(), Recipe(), edit), tmp_path)


def test_tolerance_decides_what_is_uneven(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), moved(lambda n: (0, 0, 0.15 * (n % 2))))
    with pytest.raises(DicomError, match="unevenly"):
        convert(folder, tmp_path / "a")
    assert convert(folder, tmp_path / "b", settings=ConvertSettings(spacing_tolerance_mm=0.5)).is_dir()


def test_excluded_patient_passes_through(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe())
    index_patient(PatientFiles("P1", folder), IndexSettings(), tmp_path / "index", "exclude")
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "exclude")
    status = read_status(tmp_path / "convert")
    assert (status.state, status.stage) == ("excluded", "index")
    assert [p.name for p in (tmp_path / "convert").iterdir()] == ["status.json"]


def test_no_planted_identifier_in_the_outputs(tmp_path):
    out = convert(write_pair(tmp_path / "in"), tmp_path, IndexSettings())
    text = "".join(p.read_text() for p in out.glob("*.json"))
    for planted in ("PLANTED", "Planted", "19510203", "1.2.826", "2.25."):
        assert planted not in text
    content = json.loads((out / "pet.json").read_text())
    assert len(content["header"]["slices"]) == content["geometry"]["shape"][0] == 9


def test_files_that_vanished_are_told(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe())
    index_patient(PatientFiles("P1", folder), CT_ONLY, tmp_path / "index", "stop")
    drop((3,))(folder)
    with pytest.raises(PatientError, match="gone since the index"):
        convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
