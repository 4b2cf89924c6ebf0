"""The overlay by which a person judges a registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.registration.body_mask import BodyImage, BodyPair
from pipeline.registration.quality import resample_moving
from pipeline.volumes.volume import FloatArray

if TYPE_CHECKING:
    from PIL import Image

TILE = 176
GAP = 4
TITLES = ("template", "patient, aligned", "before", "after")
Plane = npt.NDArray[np.float32]


def draw_overlay(
    bodies: BodyPair,
    before: FloatArray,
    after: FloatArray,
    path: Path,
    titles: tuple[str, ...] = TITLES,
) -> None:
    """Draw template, patient, and their overlay before and after registration, in three planes.

    In the overlay the template is red and the patient cyan; where they agree it is grey.

    Args:
        bodies: Template and patient.
        before: 4×4 before registration, template points to patient points.
        after: 4×4 after registration.
        path: PNG file.
        titles: Titles of the four columns.
    """
    from PIL import Image, ImageDraw

    fixed, moving = bodies.fixed, bodies.moving
    images = (fixed.image, *(resample_moving(bodies, matrix).image for matrix in (before, after)))
    windows = (_window(fixed), _window(moving), _window(moving))
    centre = np.round(np.argwhere(fixed.mask).mean(axis=0)).astype(int)
    sheet = Image.new("RGB", (4 * (TILE + GAP), 3 * (TILE + GAP) + 16), "black")
    for column, title in enumerate(titles):
        ImageDraw.Draw(sheet).text((column * (TILE + GAP) + 2, 2), title, fill="white")
    for row in range(3):
        planes = [
            _scaled(np.take(image, centre[row], axis=row), *window)
            for image, window in zip(images, windows, strict=True)
        ]
        if row:
            # Coronal and sagittal planes: the head is up.
            planes = [plane[::-1] for plane in planes]
        template, first, last = planes
        tiles = [_grey(template), _grey(last), _overlay(template, first), _overlay(template, last)]
        for column, tile in enumerate(tiles):
            image = _to_tile(Image.fromarray(tile), fixed.grid.spacing_mm, row)
            sheet.paste(image, (column * (TILE + GAP), row * (TILE + GAP) + 16))
    sheet.save(path, compress_level=6)


def _window(body: BodyImage) -> tuple[float, float]:
    return (-300.0, 400.0) if body.image.min() < -1 else (0.0, 1.0)


def _scaled(plane: Plane, low: float, high: float) -> npt.NDArray[np.uint8]:
    return np.asarray(np.clip((plane - low) / (high - low) * 255.0, 0, 255), dtype=np.uint8)


def _grey(plane: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.stack([plane] * 3, axis=-1)


def _overlay(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.stack([first, second, second], axis=-1)


def _to_tile(image: Image.Image, spacing_mm: tuple[float, float, float], axis: int) -> Image.Image:
    """The image scaled to a tile, its proportions those of the body."""
    from PIL.Image import Resampling

    down, across = (s for i, s in enumerate(spacing_mm) if i != axis)
    scale = TILE / max(image.width * across, image.height * down)
    size = (max(1, round(image.width * across * scale)), max(1, round(image.height * down * scale)))
    return image.resize(size, Resampling.BILINEAR)
