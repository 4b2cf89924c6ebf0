"""The overlay: grey where template and patient agree, coloured where they do not."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pipeline.registration.body_mask import BodyPair, make_body
from pipeline.registration.overlay import GAP, TILE, draw_overlay
from pipeline.volumes.resample import coarsen


def colourful(sheet: np.ndarray, column: int) -> float:
    """Share of the pixels of a column of tiles that are not grey."""
    start = column * (TILE + GAP)
    tile = sheet[16:, start : start + TILE].astype(int)
    return float((np.ptp(tile, axis=-1) > 20).mean())


def test_agreement_is_grey_and_disagreement_is_coloured(make_head, make_pose, make_grid, tmp_path):
    body = make_body(coarsen(make_head(np.eye(4), make_grid(), 1), 4.0, -1000.0, -1000.0), "ct", "head")
    shift = make_pose((0, 0, 0), (20, 0, 0))
    draw_overlay(BodyPair(body, body), shift, np.eye(4), tmp_path / "quality.png")
    sheet = np.asarray(Image.open(tmp_path / "quality.png"))
    assert sheet.shape == (3 * (TILE + GAP) + 16, 4 * (TILE + GAP), 3)
    assert colourful(sheet, 0) == colourful(sheet, 1) == 0
    assert colourful(sheet, 2) > 0.05
    assert colourful(sheet, 3) < 0.001
