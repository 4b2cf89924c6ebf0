"""Crops of PET alone and of CT alone: the same voxels as of both, and nothing asked of the other image."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.crops.crop import crop_patient
from pipeline.errors import PipelineError
from pipeline.settings.geometry import CropSettings
from pipeline.store.crops import read_crop
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import read_nifti

PLACE = {"centre_mm": (0.0, 2.0, -4.0), "shape": (24, 32, 32), "spacing_mm": (2.0, 1.5, 1.5)}


@pytest.mark.parametrize(("image", "row"), [("pet", 0), ("ct", 1)])
def test_one_channel_is_that_of_both(crop_of, turned, image, row):
    both = read_crop(crop_of(CropSettings(**PLACE), matrix=turned)[0])
    out, _ = crop_of(CropSettings(channels=(image,), **PLACE), matrix=turned)
    alone = read_crop(out)
    assert alone.attributes.channels == (image,)
    assert alone.attributes.units == (("g/mL", "HU")[row],)
    assert alone.attributes.quantities == (("pet_suvbw", "ct_hu")[row],)
    assert np.array_equal(alone.image, both.image[row : row + 1])
    assert np.array_equal(alone.mask, both.mask)


@pytest.mark.parametrize(
    ("image", "stage", "file"), [("pet", "convert", "ct_hu"), ("ct", "suv", "pet_suvbw")]
)
def test_the_other_image_may_be_missing(write_patient, tmp_path, image, stage, file):
    sources = write_patient(drawn_on=(image,))
    folder = getattr(sources, stage)
    (folder / f"{file}.nii.gz").unlink()
    write_status(folder, Status("ok", stage))
    out = tmp_path / "P.zarr"
    crop_patient(sources, out, CropSettings(channels=(image,), **PLACE), "stop", image)
    crop = read_crop(out)
    assert crop.image.shape[0] == 1 and crop.mask.any() and crop.attributes.mask_from == image
    with pytest.raises(PipelineError, match="no CT|one SUV image"):
        crop_patient(sources, out, CropSettings(**PLACE), "stop", image)


def test_imaged_by_the_channels_alone(crop_of, grids):
    # The CT ends at 43.5 + 1.5 mm, the PET at 46 + 2 mm: a PET-only crop is imaged up to its own end.
    place = {**PLACE, "centre_mm": (40.0, 0.0, 0.0)}
    both = read_crop(crop_of(CropSettings(**place))[0]).inside
    pet = read_crop(crop_of(CropSettings(channels=("pet",), **place))[0]).inside
    z = np.arange(24) * 2.0 + 40.0 - 23.0
    assert np.array_equal(pet.any(axis=(1, 2)), z < 48.0)
    assert np.array_equal(both.any(axis=(1, 2)), z < 45.0)


@pytest.mark.parametrize("spacing", [(2.0, 1.5, 1.5), (9.0, 9.0, 9.0)])
def test_nearest_takes_native_values(crop_of, turned, spacing):
    # SimpleITK's own nearest neighbour; coarser than the image too, where the others are blurred first.
    settings = CropSettings(
        channels=("pet",), interpolation="nearest", **{**PLACE, "shape": (8, 8, 8), "spacing_mm": spacing}
    )
    out, sources = crop_of(settings, matrix=turned)
    got = read_crop(out).image[0]
    grid = sitk.Image(8, 8, 8, sitk.sitkFloat32)
    grid.SetSpacing(spacing[::-1])
    centre = np.array(PLACE["centre_mm"][::-1])
    grid.SetOrigin([float(c - 3.5 * s) for c, s in zip(centre, spacing[::-1], strict=True)])
    transform = sitk.ReadTransform(str(sources.registration / "to_template.mat"))
    pet = sitk.ReadImage(str(sources.suv / "pet_suvbw.nii.gz"))
    expected = sitk.GetArrayFromImage(sitk.Resample(pet, grid, transform, sitk.sitkNearestNeighbor, 0.0))
    assert np.mean(got == expected) > 0.99  # rounding where a point lies midway
    assert set(np.unique(got)) <= {0.0, *np.unique(read_nifti(sources.suv / "pet_suvbw.nii.gz").array)}


@pytest.mark.parametrize("channels", [(), ("ct", "pet"), ("pet", "pet")])
def test_channels_stand_in_one_order(channels):
    with pytest.raises(ValueError, match="channels"):
        CropSettings(channels=channels)


def test_no_brain_without_pet():
    with pytest.raises(ValueError, match="brain_anchored finds the brain in the PET"):
        CropSettings(channels=("ct",), position="brain_anchored")
