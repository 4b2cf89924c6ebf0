"""The two pictures of a registration that take turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.report.registration_blink import write_blink


def overlay(path: Path, greys: tuple[int, int, int, int]) -> None:
    from PIL import Image

    columns = [np.full((30, 20, 3), grey, np.uint8) for grey in greys]
    Image.fromarray(np.concatenate(columns, axis=1)).save(path)


def test_fixed_and_moved_are_cut_out(tmp_path: Path) -> None:
    from PIL import Image

    overlay(tmp_path / "quality.png", (40, 200, 90, 120))
    blink = write_blink(tmp_path, tmp_path / "A1_registration.png")
    assert blink is not None and (blink.what, blink.width, blink.height) == ("template and patient", 20, 30)
    with Image.open(tmp_path / blink.file) as picture:
        values = np.asarray(picture.convert("L"))
    assert values.shape == (30, 40) and (values[:, :20] == 40).all() and (values[:, 20:] == 200).all()


def test_a_registered_pet_comes_first_and_without_registration_there_is_none(tmp_path: Path) -> None:
    assert write_blink(tmp_path, tmp_path / "a.png") is None
    for name in ("quality.png", "pet_to_ct.png"):
        overlay(tmp_path / name, (1, 2, 3, 4))
    blink = write_blink(tmp_path, tmp_path / "a.png")
    assert blink is not None and blink.what == "CT and PET"
