"""Files of a series as one volume: their order, encodings and rescale."""

import random

import numpy as np
import pydicom
import pytest

from pipeline.errors import DicomError
from pipeline.settings.dicom import IndexSettings
from pipeline.volumes.nifti import read_nifti
from tests.dicom.volume.convert_helpers import convert, ct_of
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series


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


def cut_pixels(ds, number):
    if number == 4:
        ds.PixelData = ds.PixelData[:100]


def without(keyword, number=4):
    def edit(ds, n):
        if n == number:
            delattr(ds, keyword)

    return edit


REFUSED = [
    ("truncated pixels", cut_pixels, "cannot be decoded"),
    ("no pixels", without("PixelData"), "cannot be decoded"),
    # PS3.3 C.8.2.1: both are of type 1 in a CT; 1 and -1024 would be guesses.
    ("no slope in one slice", without("RescaleSlope"), "Hounsfield"),
    ("no intercept in one slice", without("RescaleIntercept"), "Hounsfield"),
]


@pytest.mark.parametrize(("edit", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(tmp_path, edit, words):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), edit)
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
