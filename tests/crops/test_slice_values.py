"""Slices of different files and sizes are made alike; what cannot be is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from pipeline.crops.image_files import load_image
from pipeline.crops.ingest import SliceStore, ingest_patient
from pipeline.crops.slice_values import prepare_image, prepare_mask
from pipeline.errors import CropError
from pipeline.settings.ingest import IngestSettings
from pipeline.store.crops import read_crop
from pipeline.tables.files import PatientFiles

SHAPE = (1, 4, 4)
RAMP = (np.arange(64) * 4).reshape(1, 1, 8, 8).astype(np.uint8)


def prepared(image: np.ndarray, shape: tuple[int, int, int] = SHAPE, **settings: object) -> np.ndarray:
    return prepare_image(image, IngestSettings.model_validate(settings), shape, "slice.png")


def test_equalising_gives_each_value_its_cumulative_share() -> None:
    # By hand: of 64 pixels 32 are 10, 16 are 20, 16 are 250; shares up to each: 1/2, 3/4, 1.
    values = np.repeat([10.0, 20.0, 250.0], [32, 16, 16]).reshape(1, 1, 8, 8)
    spread = prepared(values, equalise="histogram")
    # Between bins the cumulative histogram is interpolated: at most one bin's share off.
    assert np.allclose([spread[values == v].mean() for v in (10, 20, 250)], [0.5, 0.75, 1.0], atol=0.02)
    # A monotone change of the grey levels is undone: what equalisation is for.
    assert np.allclose(prepared(RAMP, equalise="histogram"), prepared(3.0 * RAMP + 7, equalise="histogram"))
    uniform = prepared(RAMP, equalise="histogram")
    assert np.allclose(np.sort(uniform.ravel()), (np.arange(64) + 1) / 64, atol=1 / 64)


def test_shrinking_by_two_keeps_the_mean_and_does_not_alias() -> None:
    checks = np.indices((8, 8)).sum(0)[np.newaxis, np.newaxis] % 2 * 100.0
    small = prepared(checks, resize=True)
    assert small.shape == (1, 1, 4, 4) and np.allclose(small, 50, atol=8), "not 0 and 100"
    gradient = prepared(RAMP.astype(float), resize=True)
    assert gradient.mean() == pytest.approx(RAMP.mean(), rel=0.02)
    assert prepared(RAMP, (1, 8, 8), resize=True) is RAMP


def test_a_mask_keeps_its_labels() -> None:
    mask = np.zeros((1, 8, 8), np.uint8)
    mask[0, :4, :4], mask[0, 4:, 4:] = 1, 3
    small = prepare_mask(mask, IngestSettings(resize=True), SHAPE, "mask.png")
    expected = np.zeros((1, 4, 4), np.uint8)
    expected[0, :2, :2], expected[0, 2:, 2:] = 1, 3
    assert np.array_equal(small, expected) and small.dtype == np.uint8
    grown = prepare_mask(mask, IngestSettings(resize=True), (1, 16, 16), "mask.png")
    assert set(np.unique(grown)) == {0, 1, 3} and (grown == 3).sum() == 4 * (mask == 3).sum()


def test_grey_is_the_luminance_of_pillow(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    image = np.moveaxis(colour, -1, 0)[:, np.newaxis]
    grey = prepared(image, grey=True)
    assert np.allclose(grey[0, 0], np.asarray(Image.fromarray(colour).convert("L")), atol=1)
    assert prepared(RAMP, grey=True).shape == RAMP.shape


def test_unit_range() -> None:
    scaled = prepared(RAMP.astype(float) - 100, scale="unit")
    assert (scaled.min(), scaled.max()) == (0, 1) and scaled[0, 0, 0, 1] == pytest.approx(1 / 63)


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "nii", "nii.gz", "PNG"])
def test_formats(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "patient"
    folder.mkdir()
    path = folder / f"image.{ending}"
    if ending.startswith("nii"):
        sitk.WriteImage(sitk.GetImageFromArray(RAMP[0]), str(path))
    else:
        Image.fromarray(RAMP[0, 0]).save(path, quality=100)
    loaded = load_image(path)
    # JPEG at its best quality rounds; the others are exact.
    assert np.abs(loaded.astype(float).squeeze() - RAMP[0, 0]).max() <= (2 if ending[0] == "j" else 0)
    ingest_patient(PatientFiles("S", folder), tmp_path / "S.zarr", "stop")
    assert read_crop(tmp_path / "S.zarr").image.shape == (1, 1, 8, 8)


def test_what_cannot_be_made_alike_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RAMP[0, 0]).save(tmp_path / "image.png")
    Image.fromarray((RAMP[0, 0] > 9).astype(np.uint8) * 255).save(tmp_path / "mask.jpg")
    patient = PatientFiles("S", tmp_path / "image.png", "mask.jpg")
    with pytest.raises(CropError, match="a mask is a JPEG.*without loss"):
        ingest_patient(patient, tmp_path / "S.zarr", "stop")
    for image, settings, message in (
        (np.full((1, 1, 8, 8), 7), {"equalise": "histogram"}, "single value.*7 everywhere"),
        (np.full((1, 1, 8, 8), 7), {"scale": "unit"}, "single value"),
        (np.zeros((1, 3, 8, 8)), {"resize": True}, "slices are resized, and this is a volume"),
        (np.zeros((2, 1, 8, 8)), {"grey": True}, "not in three colours.*2 channels"),
    ):
        with pytest.raises(CropError, match=message):
            prepared(image, **settings)


def test_image_and_mask_in_parallel_folders_are_brought_to_the_study_size(tmp_path: Path) -> None:
    for folder in ("ct", "lesion"):
        (tmp_path / folder).mkdir()
    Image.fromarray(RAMP[0, 0]).save(tmp_path / "ct" / "a.png")
    Image.fromarray((RAMP[0, 0] >= 128).astype(np.uint8) * 255).save(tmp_path / "lesion" / "a.png")
    settings = IngestSettings(equalise="histogram", resize=True, scale="unit")
    store = SliceStore(settings, SHAPE, (1.0, 0.7, 0.7))
    ingest_patient(
        PatientFiles("a", tmp_path / "ct" / "a.png", "../lesion/a.png"), tmp_path / "a.zarr", "stop", store
    )
    crop = read_crop(tmp_path / "a.zarr")
    assert crop.mask is not None
    assert crop.image.shape == (1, *SHAPE) and crop.mask.shape == SHAPE
    assert (crop.image.min(), crop.image.max()) == (0, 1)
    assert np.array_equal(crop.mask[0].any(1), [False, False, True, True])
