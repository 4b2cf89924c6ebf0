"""The picture by which a person judges a registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.registration.body_mask import BodyImage
from pipeline.registration.quality import moved
from pipeline.volumes.volume import FloatArray

if TYPE_CHECKING:
    from PIL import Image

TILE = 176
GAP = 4
TITLES = ("template", "patient, aligned", "before", "after")
Plane = npt.NDArray[np.float32]


def draw(
    bodies: tuple[BodyImage, BodyImage],
    matrices: tuple[FloatArray, FloatArray],
    path: Path,
    titles: tuple[str, ...] = TITLES,
) -> None:
    """Draw template, patient, and their overlay before and after, in three planes.

    Overlay: template red, patient cyan; where they agree the picture is grey.

    Args:
        bodies: The template and the patient.
        matrices: 4×4 before and after, template points to patient points.
        path: PNG.
        titles: Of the four columns.
    """
    from PIL import Image, ImageDraw

    fixed, moving = bodies
    before, after = (moved(fixed, moving, m)[0] for m in matrices)
    windows = (_window(fixed), _window(moving), _window(moving))
    at = np.round(np.argwhere(fixed.mask).mean(axis=0)).astype(int)
    sheet = Image.new("RGB", (4 * (TILE + GAP), 3 * (TILE + GAP) + 16), "black")
    for column, title in enumerate(titles):
        ImageDraw.Draw(sheet).text((column * (TILE + GAP) + 2, 2), title, fill="white")
    for row in range(3):
        images = zip((fixed.image, before, after), windows, strict=True)
        cuts = [_scaled(np.take(image, at[row], axis=row), *window) for image, window in images]
        if row:
            # coronal and sagittal: the head up
            cuts = [cut[::-1] for cut in cuts]
        still, first, last = cuts
        tiles = [_grey(still), _grey(last), _overlay(still, first), _overlay(still, last)]
        for column, tile in enumerate(tiles):
            image = _fit(Image.fromarray(tile), fixed.grid.spacing_mm, row)
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


def _fit(image: Image.Image, spacing_mm: tuple[float, float, float], axis: int) -> Image.Image:
    """The image in a tile, true to scale (working voxels are cubes)."""
    from PIL.Image import Resampling

    down, across = (s for i, s in enumerate(spacing_mm) if i != axis)
    scale = TILE / max(image.width * across, image.height * down)
    size = (max(1, round(image.width * across * scale)), max(1, round(image.height * down * scale)))
    return image.resize(size, Resampling.BILINEAR)
