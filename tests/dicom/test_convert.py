"""Series to volumes: intensities and geometry against what was written, and what is refused."""

import itertools
import json
import random

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
)

from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
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


@pytest.mark.parametrize("implicit", [True, False])
def test_bare_datasets_without_preamble_and_meta(tmp_path, implicit):
    folder = write_series(tmp_path / "in", voxels(), Recipe())
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        bare = pydicom.Dataset()
        bare.update(ds)
        pydicom.dcmwrite(path, bare, implicit_vr=implicit, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\x00"
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, voxels().astype(int) - 1024)


def test_big_endian_pixels(tmp_path):
    def edit(ds, _):
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()

    folder = write_series(tmp_path / "in", voxels(), Recipe(), edit)
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, voxels().astype(int) - 1024)


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
    # PS3.3 C.8.2.1: both are of type 1 in a CT; 1 and -1024 would be guesses.
    ("no slope in one slice", without("RescaleSlope"), (), "Hounsfield"),
    ("no intercept in one slice", without("RescaleIntercept"), (), "Hounsfield"),
]


@pytest.mark.parametrize(("edit", "gone", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(tmp_path, edit, gone, words):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), edit)
    drop(gone)(folder)
    with pytest.raises(DicomError, match=words):
        convert(folder, tmp_path)


@pytest.mark.parametrize("gone", [("RescaleSlope",), ("RescaleSlope", "RescaleIntercept")])
@pytest.mark.parametrize("where", [range(9), (4,)], ids=["everywhere", "in one slice"])
def test_a_pet_without_its_slope_is_refused(tmp_path, gone, where):
    # PS3.3 C.8.9.4: of type 1; slopes of PET slices differ by orders of magnitude, and none is 1.
    def edit(ds, number):
        for keyword in gone if number in where else ():
            delattr(ds, keyword)

    folder = write_pair(tmp_path / "in", pet_edit=edit)
    with pytest.raises(DicomError, match="activity or SUV"):
        convert(folder, tmp_path, IndexSettings(min_slices=2))


def test_a_pets_intercept_is_0_where_it_is_absent(tmp_path):
    # PS3.3 C.8.9.4: "Rescale Intercept … shall be 0".
    def edit(ds, _):
        del ds.RescaleIntercept

    folder = convert(write_pair(tmp_path / "in", pet_edit=edit), tmp_path, IndexSettings(min_slices=2))
    assert np.array_equal(read_nifti(folder / "pet_stored.nii.gz").array, voxels((9, 7, 6), seed=4) * 2.5)


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


TILT = np.tan(np.radians(10.0))


def test_a_tilted_gantry_is_made_straight_where_allowed(tmp_path):
    """Truth: every slice shows the same oblique rod, defined in the patient's coordinates (LPS mm)."""
    recipe = Recipe(spacing=(2.0, 1.0, 1.0), intercept=-1024.0)
    z, y, x = np.mgrid[0:15, 0:40, 0:30].astype(float)
    # Slice n lies 2·tan(10°)·n mm further along y; a smooth field in y and x is linear nearly everywhere.
    world_y = y + recipe.origin[1] + z * 2.0 * TILT
    values = (1000 + 20 * (world_y - recipe.origin[1]) + 5 * x).round().astype(np.uint16)
    folder = write_series(tmp_path / "in", values, recipe, moved(lambda n: (0, n * 2.0 * TILT, 0)))
    with pytest.raises(DicomError, match="gantry_tilt: resample"):
        convert(folder, tmp_path / "a")
    out = convert(folder, tmp_path / "b", settings=ConvertSettings(gantry_tilt="resample"))
    assert "tilt of 10.0°" in read_status(out).problem
    volume = ct_of(out)
    assert volume.array.shape == (15, 45, 30)  # 14 · 2 · tan 10° = 4.94 mm wider
    for k, j, i in itertools.product((0, 7, 14), (8, 20, 35), (1, 15, 28)):
        place = volume.grid.points([k, j, i])[0]
        truth = 1000 + 20 * (place[1] - recipe.origin[1]) + 5 * (place[0] - recipe.origin[0]) - 1024
        assert volume.array[k, j, i] == pytest.approx(truth, abs=1.0)
    # Nothing was imaged beyond the slices' own edges: least value of the stack.
    assert volume.array[14, 0, 0] == volume.array.min() == values.min().astype(int) - 1024


def test_a_moved_table_is_refused_even_where_tilt_is_allowed(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), moved(lambda n: (5.0 if n > 6 else 0, 0, 0)))
    with pytest.raises(DicomError, match="sideways"):
        convert(folder, tmp_path, settings=ConvertSettings(gantry_tilt="resample"))


def announce(keyword, count):
    return lambda ds, _: setattr(ds, keyword, count)


def test_slices_missing_at_the_ends_are_told(tmp_path):
    folder = write_pair(tmp_path / "in", pet_edit=announce("NumberOfSlices", 11))
    index = IndexSettings()
    with pytest.raises(DicomError, match=r"2 slices are missing at the ends.*0054,0081.*convert.incomplete"):
        convert(folder, tmp_path / "a", index)
    out = convert(folder, tmp_path / "b", index, ConvertSettings(incomplete="warn"))
    assert read_status(out).state == "warned" and "11, 9 arrived" in read_status(out).problem


@pytest.mark.parametrize(("count", "state"), [(12, "ok"), (15, "warned")])
def test_images_in_acquisition_may_warn_but_never_refuse(tmp_path, count, state):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), announce("ImagesInAcquisition", count))
    assert read_status(convert(folder, tmp_path)).state == state


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


def test_names_of_files_stay_out_of_messages(tmp_path):
    # Archives name files by their SOP Instance UID.
    folder = write_series(tmp_path / "in", voxels(), Recipe(), names=lambda n: f"CT.1.2.826.0.{n}.dcm")
    index_patient(PatientFiles("P1", folder), CT_ONLY, tmp_path / "index", "stop")
    (folder / "CT.1.2.826.0.4.dcm").write_bytes(b"\xff" * 300)
    with pytest.raises(DicomError) as refusal:
        convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    assert "1.2.826" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
