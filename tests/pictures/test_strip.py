"""The strip from the scanner's images to the crop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.pictures.strip import PET_WINDOW_GML, Panel, draw_strip, panels

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "phantom"


def test_slices_are_drawn_at_one_scale(tmp_path: Path) -> None:
    """A lesion's outline is orange; a slice of half the width in mm takes half the room."""
    from PIL import Image

    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 5:15] = True
    image = np.where(mask, 8.0, 0.0)
    wide = Panel("wide", image, mask, PET_WINDOW_GML, "gray_r", (4.0, 4.0, 4.0))
    narrow = Panel("narrow", image, None, PET_WINDOW_GML, "gray_r", (2.0, 2.0, 2.0))
    assert wide.extent_mm == (80.0, 80.0) and narrow.extent_mm == (40.0, 40.0)
    draw_strip([wide, narrow], tmp_path / "strip.png")
    pixels = np.array(Image.open(tmp_path / "strip.png").convert("RGB")).astype(int)
    black = (pixels.sum(axis=2) < 60).sum(axis=0)
    orange = (pixels[..., 0] > 200) & (pixels[..., 1] < 140) & (pixels[..., 2] < 90)
    left, right = np.split(black, [black.size * 2 // 3])
    assert orange.any() and (left > 20).sum() == pytest.approx(2 * (right > 20).sum(), rel=0.1)


@pytest.mark.finished
@pytest.mark.skipif(not (RESULTS / "report").exists(), reason="no finished demo")
def test_the_demos_panels_show_the_lesion() -> None:
    """Its uptake is far above the rest: phantoms have lesions of 6 g/mL and more."""
    ct, pet, crop_ct, crop_pet = panels(RESULTS)
    for panel in (ct, crop_ct, crop_pet):
        assert panel.mask is not None and panel.mask.any()
    assert pet.image.max() > 4 and crop_pet.image[crop_pet.mask].mean() > 4
    assert crop_pet.image[~crop_pet.mask].mean() < 2
