"""Slices and generated arrays in the store."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipeline.crops.ingest import SliceStore, ingest_patient, write_arrays
from pipeline.errors import CropError, PatientError
from pipeline.store.crops import read_crop, read_status
from pipeline.tables.files import PatientFiles

SLICE = np.arange(48, dtype=np.uint8).reshape(6, 8)
MASK = (SLICE > 20).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "tiff", "npy"])
def test_a_slice_and_its_mask(tmp_path, ending):
    image, mask = tmp_path / f"slice.{ending}", tmp_path / f"drawn.{ending}"
    if ending == "npy":
        np.save(image, SLICE.astype(np.float32))
        np.save(mask, MASK)
    else:
        Image.fromarray(SLICE).save(image)
        Image.fromarray(MASK * 255).save(mask)
    patient = PatientFiles("S1", image, mask.name)
    ingest_patient(patient, tmp_path / "S1.zarr", "stop", SliceStore(spacing_mm=(1.0, 0.5, 0.5)))
    crop = read_crop(tmp_path / "S1.zarr")
    assert crop.image.shape == (1, 1, 6, 8)
    assert np.array_equal(crop.image[0, 0], SLICE)
    assert np.array_equal(crop.mask[0], MASK)
    assert crop.attributes.spacing_mm == (1.0, 0.5, 0.5)
    assert crop.attributes.lesion_ml == pytest.approx(27 * 0.25 / 1000)
    assert (crop.attributes.channels, crop.attributes.contour) == (("image",), "manual")


def test_sixteen_bits_and_colours_survive(tmp_path):
    deep = (SLICE.astype(np.uint16)) * 1000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    ingest_patient(PatientFiles("S", tmp_path / "deep.png"), tmp_path / "S.zarr", "stop")
    assert np.array_equal(read_crop(tmp_path / "S.zarr").image[0, 0], deep)
    colour = np.stack([SLICE, SLICE + 1, SLICE + 2], axis=-1)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    ingest_patient(PatientFiles("C", tmp_path / "colour.png"), tmp_path / "C.zarr", "stop")
    crop = read_crop(tmp_path / "C.zarr")
    assert crop.image.shape == (3, 1, 6, 8)
    assert np.array_equal(crop.image[:, 0], np.moveaxis(colour, -1, 0))
    assert crop.mask is None


def test_folders_and_archives(tmp_path):
    volume = np.random.default_rng(0).normal(size=(2, 3, 6, 8)).astype(np.float32)
    mask = np.ones((3, 6, 8), np.uint8)
    folder = tmp_path / "patient"
    folder.mkdir()
    np.save(folder / "image.npy", volume)
    np.save(folder / "mask.npy", mask)
    np.savez(tmp_path / "patient.npz", image=volume, mask=mask)
    for number, source in enumerate((folder, tmp_path / "patient.npz")):
        out = tmp_path / f"{number}.zarr"
        ingest_patient(PatientFiles("G", source), out, "stop")
        assert np.array_equal(read_crop(out).image, volume)
        assert np.array_equal(read_crop(out).mask, mask)


def test_generated_arrays_of_two_axes(tmp_path):
    write_arrays("D1", SLICE.astype(np.float32), MASK, tmp_path / "D1.zarr")
    assert read_crop(tmp_path / "D1.zarr").image.shape == (1, 1, 6, 8)


def test_what_cannot_be_read(tmp_path):
    out = tmp_path / "S.zarr"
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    for name, kind, message in (
        ("absent.png", PatientError, "no images"),
        ("broken.png", CropError, "cannot be read"),
    ):
        with pytest.raises(kind, match=f"{message}.*patient S"):
            ingest_patient(PatientFiles("S", tmp_path / name), out, "stop")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(CropError, match="cannot be read"):
        ingest_patient(PatientFiles("S", tmp_path / "objects.npy"), out, "stop")
    Image.fromarray(SLICE).save(tmp_path / "a.png")
    Image.fromarray(SLICE[:3]).save(tmp_path / "b.png")
    ingest_patient(PatientFiles("S", tmp_path / "a.png", "b.png"), out, "exclude")
    assert "differ in size" in read_status(out).problem


def test_values_of_a_mask_become_labels_of_the_classes(tmp_path):
    # Values as a study may have them; labels follow the order of the classes (by hand).
    values = np.zeros((6, 8), np.uint8)
    values[0, :3], values[1, :2], values[2, :1] = 50, 100, 255
    Image.fromarray(SLICE).save(tmp_path / "slice.png")
    Image.fromarray(values).save(tmp_path / "mask.png")
    patient = PatientFiles("S1", tmp_path / "slice.png", "mask.png")
    classes = {"effusion": 255, "ground_glass": 50, "consolidation": 100}
    ingest_patient(patient, tmp_path / "S1.zarr", "stop", SliceStore(classes=classes))
    crop = read_crop(tmp_path / "S1.zarr")
    assert crop.attributes.classes == ("effusion", "ground_glass", "consolidation")
    expected = np.select([values == 255, values == 50, values == 100], [1, 2, 3], 0)
    assert np.array_equal(crop.mask[0], expected) and crop.mask.dtype == np.uint8
    assert crop.attributes.lesion_ml == pytest.approx(6 / 1000)
    for wrong, message in (({"effusion": 255, "ground_glass": 50}, "no class.*got: 100"),):
        with pytest.raises(CropError, match=message):
            ingest_patient(patient, tmp_path / "S2.zarr", "stop", SliceStore(classes=wrong))
    Image.fromarray(np.stack([values] * 3, axis=-1)).save(tmp_path / "mask.png")
    with pytest.raises(CropError, match="classes has colours"):
        ingest_patient(patient, tmp_path / "S2.zarr", "stop", SliceStore(classes=classes))


def test_a_mask_without_classes_is_stored_as_before(tmp_path):
    import json

    write_arrays("D1", SLICE.astype(np.float32), MASK * 3, tmp_path / "D1.zarr")
    assert read_crop(tmp_path / "D1.zarr").mask.max() == 1
    stored = json.loads((tmp_path / "D1.zarr" / "zarr.json").read_text())
    assert "classes" not in stored["attributes"]["crop"]
