"""Subregions of a contour: its hot part, and the shell around it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.radiomics_features import feature_images
from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.native_pet import ImageGrid, NativePet
from pipeline.radiomics.sources import PatientImages
from pipeline.radiomics.subregions import with_subregion
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.tables.status import Status
from pipeline.volumes.volume import Grid


def test_subregions_by_hand() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4:6] = True
    pet = np.ones(mask.shape, np.float32)
    pet[4, 4, 4], pet[4, 4, 5] = 10, 4
    inside = np.ones(mask.shape, bool)
    inside[3] = False
    images = feature_images({"pet": pet, "ct": pet * 0}, mask, (1.0, 1.0, 1.0))
    images = {name: replace(image, inside=inside) for name, image in images.items()}
    grid = Grid((9, 9, 9), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    patient = PatientImages(
        "P1",
        images,
        Status("ok", "crop"),
        NativePet(grid, images["pet"]),
        dict.fromkeys(images, ImageGrid(grid, np.eye(4))),
    )
    hot = with_subregion(patient, "threshold", RadiomicsSettings())
    assert np.argwhere(hot["ct"].mask).tolist() == [[4, 4, 4]]  # 4 lies below 41 % of 10
    rim = with_subregion(patient, "peritumoral", RadiomicsSettings(rim_mm=1.0))["pet"].mask
    assert rim.sum() == 10 - 2 and not (rim & (mask | ~inside)).any()
    with pytest.raises(RadiomicsError, match="`peritumoral` is empty"):
        with_subregion(patient, "peritumoral", RadiomicsSettings(rim_mm=0.5))


def test_the_hot_part_is_that_of_the_native_pet() -> None:
    """A hot voxel of 2 mm that a grid of 4 mm averages away: the region lies where the PET is hot."""
    native = Grid((8, 8, 8), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    coarse = Grid((4, 4, 4), (4.0, 4.0, 4.0), (1.0, 1.0, 1.0))
    pet = np.ones((8, 8, 8), np.float32)
    pet[2:4, 4:6, 4:6] = 5  # one voxel of the coarse grid, at 50 % of SUVmax
    pet[2, 4, 4] = 10
    everywhere = np.ones((8, 8, 8), bool)
    blocks = pet.reshape(4, 2, 4, 2, 4, 2).mean(axis=(1, 3, 5))
    lesion = np.ones((4, 4, 4), bool)
    images = feature_images({"pet": blocks * 0, "ct": blocks}, lesion, (4.0, 4.0, 4.0))
    patient = PatientImages(
        "P1",
        images,
        Status("ok", "crop"),
        NativePet(native, FeatureImage(pet, everywhere, everywhere, (2.0, 2.0, 2.0))),
        dict.fromkeys(images, ImageGrid(coarse, np.eye(4))),
    )
    hot = with_subregion(patient, "threshold", RadiomicsSettings())
    assert np.argwhere(hot["ct"].mask).tolist() == [[1, 2, 2]]
