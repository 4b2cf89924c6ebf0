"""A patient's picture, volumes and page."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.provenance import file_sha256
from pipeline.report import patient_pictures, patient_volumes
from pipeline.report.patient_pictures import GREYS, draw_picture
from pipeline.report.patient_volumes import ViewedCrop, write_volumes
from pipeline.report.slices import Example
from pipeline.volumes.sides import side_letters
from pipeline.volumes.volume import Grid


def example(shape: tuple[int, int, int] = (4, 8, 10)) -> Example:
    image = np.zeros(shape, np.float32)
    manual = np.zeros(shape, np.uint8)
    manual[2, 2:6, 3:9] = 1
    predicted = np.zeros(shape, np.uint8)
    predicted[2, 3:5, 4:6] = 1
    # Voxels of 2 mm along z, 1 mm along y and x: 8 mm, 8 mm, 10 mm.
    return Example("A1", {"pet": image, "ct": image}, manual, predicted, "", (1.0, 2.0))


def test_picture_is_true_to_scale_with_contours(tmp_path: Path) -> None:
    from PIL import Image

    picture = draw_picture(example(), side_letters(((1, 0, 0), (0, 1, 0), (0, 0, 1))), tmp_path / "A1.png")
    axial, coronal, sagittal = picture.panels[:3]
    # 10 mm are 250 pixels, 8 mm are 200.
    assert (axial.width, axial.height) == (250, 200)
    assert (coronal.width, coronal.height) == (250, 200)
    assert (sagittal.width, sagittal.height) == (200, 200)
    assert (axial.left, axial.right, sagittal.left, sagittal.right) == ("R", "L", "A", "P")
    assert axial.title == "PET, axial 3 of 4, SUV 0 to 5.0"
    assert picture.panels[3].title.endswith("−160 to 240 HU")
    with Image.open(tmp_path / "A1.png") as stored:
        assert stored.size == (picture.width, picture.height)
        sheet = np.asarray(stored)[axial.y : axial.y + axial.height, axial.x : axial.x + axial.width]
    rows, columns = np.nonzero(sheet == GREYS)
    # Rows 2 to 5 of 8 and columns 3 to 8 of 10, at 25 pixels a voxel.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 149, 75, 224)
    dashes = sheet[75, 100:150] == GREYS + 1
    assert 0 < dashes.sum() < 50, "the predicted contour is dashed"
    first = (tmp_path / "A1.png").read_bytes()
    draw_picture(example(), side_letters(((1, 0, 0), (0, 1, 0), (0, 0, 1))), tmp_path / "A1.png")
    assert (tmp_path / "A1.png").read_bytes() == first


def test_head_is_up_in_coronal_and_sagittal_planes(tmp_path: Path) -> None:
    from PIL import Image

    image = np.full((4, 8, 10), -160, np.float32)
    image[3] = 240  # the last slice, towards the head
    shown = Example("A1", {"ct": image}, None, None, "", (1.0, 2.0))
    picture = draw_picture(shown, (("F", "H"), ("A", "P"), ("R", "L")), tmp_path / "A1.png")
    with Image.open(tmp_path / "A1.png") as stored:
        sheet = np.asarray(stored)
    for panel in picture.panels[1:]:
        part = sheet[panel.y : panel.y + panel.height, panel.x : panel.x + panel.width]
        assert (part[:50] == GREYS - 1).all() and (part[50:] == 0).all(), panel.title


def volumes_of(path: Path) -> dict:
    return json.loads(path.read_text().removeprefix("window.suvivalVolumes = ").removesuffix(";\n"))


def test_volumes_give_back_the_window_of_the_images(tmp_path: Path) -> None:
    pet = np.linspace(0, 20, 4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    mask = (pet > 10).astype(np.uint8) * 3
    grid = Grid((4, 5, 6), (3.0, 2.0, 1.0), (10.0, 20.0, 30.0))
    write_volumes(ViewedCrop({"pet": pet}, {"manual": mask}, grid, (1, 2, 3)), tmp_path / "A1.js")
    stored = volumes_of(tmp_path / "A1.js")
    data = gzip.decompress(base64.b64decode(stored["pet"]))
    slope, intercept = struct.unpack_from("<2f", data, 112)
    values = np.frombuffer(data[352:], np.uint8).reshape(4, 5, 6) * slope + intercept
    high = float(np.percentile(pet, 99.7))
    assert np.abs(values - np.clip(pet, 0, high)).max() <= high / 255
    # nifti1.h: srow_x at byte 280; x of LPS changes its sign.
    assert struct.unpack_from("<4f", data, 280) == (-1.0, 0.0, 0.0, -10.0)
    labels = np.frombuffer(gzip.decompress(base64.b64decode(stored["manual"]))[352:], np.uint8)
    np.testing.assert_array_equal(labels.reshape(mask.shape), mask > 0)
    # Voxel x 3, y 2, z 1 lies at 13, 24, 33 mm (LPS).
    assert stored["focus"] == [-13.0, -24.0, 33.0]


def test_volumes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise does not compress: fewer grey levels, then every second voxel, until it fits."""
    monkeypatch.setattr(patient_volumes, "LARGEST", 20_000)
    noise = np.random.default_rng(1).uniform(0, 8, (20, 40, 40)).astype(np.float32)
    grid = Grid(noise.shape, (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    write_volumes(ViewedCrop({"pet": noise}, {}, grid, (0, 0, 0)), tmp_path / "A1.js")
    assert (tmp_path / "A1.js").stat().st_size <= 20_000
    header = gzip.decompress(base64.b64decode(volumes_of(tmp_path / "A1.js")["pet"]))
    assert struct.unpack_from("<4h", header, 40) == (3, 20, 20, 10)


def test_the_viewers_library_is_what_it_says() -> None:
    """niivue 0.69.0 as npm gives it, with its licence."""
    assert file_sha256(patient_volumes.ASSETS / patient_volumes.NIIVUE) == patient_volumes.NIIVUE_SHA256
    licence = (patient_volumes.ASSETS / "LICENSE.niivue.txt").read_text()
    assert licence.startswith("BSD 2-Clause License") and "Niivue" in licence


def test_a_palette_has_room_for_every_class() -> None:
    assert len(patient_pictures._palette()) == 3 * (GREYS + len(patient_pictures.CLASS_COLOURS)) <= 768
