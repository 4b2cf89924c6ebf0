"""A patient's picture: three planes of each channel with contours as PNG, and where the page writes on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report import slices
from pipeline.report.mask_classes import CLASS_COLOURS, Labels, class_colour
from pipeline.report.slices import Example, Mask

LONGEST = 250
"""Pixels of the longest side of a slice."""
BAND, GAP = 18, 10
"""Pixels above each slice for its title, and between slices."""
GREYS = 246
"""Grey levels of the palette; the colours of contours follow."""
CHANNELS = 3
"""Channels that are shown at most."""
DASH = 5
"""Pixels of a dash of a predicted contour."""
PLANES = ("axial", "coronal", "sagittal")
SHOWN_AXES = {"axial": (1, 2), "coronal": (0, 2), "sagittal": (0, 1)}
"""Plane → the volume's axes (z, y, x) along its rows and columns."""
OUT_OF_PLANE = {"axial": 0, "coronal": 1, "sagittal": 2}


@dataclass(frozen=True)
class SlicePanel:
    """A slice of the picture.

    Attributes:
        title: Channel, plane, slice and window, e.g. `PET, axial 17 of 32, SUV 0 to 9.6`.
        x: Left edge (pixels).
        y: Upper edge below the title.
        width: Its width.
        height: Its height.
        left: What lies at the left edge: R, L, A or P; empty: not known.
        right: What lies at the right edge.
    """

    title: str
    x: int
    y: int
    width: int
    height: int
    left: str = ""
    right: str = ""


@dataclass(frozen=True)
class PatientPicture:
    """A patient's PNG and what the page writes on it.

    Attributes:
        file: Its name.
        width: Pixels.
        height: Pixels.
        panels: Its slices, a row per channel.
        suv_high: Upper end of the PET's window (g/mL), which begins at 0; None without PET.
        manual: Whether the study's contour is drawn in one of the slices.
        predicted: Whether a predicted contour is.
    """

    file: str
    width: int
    height: int
    panels: tuple[SlicePanel, ...]
    suv_high: float | None
    manual: bool
    predicted: bool


def draw_picture(example: Example, sides: tuple[tuple[str, str], ...], path: Path) -> PatientPicture:
    """Write the PNG of a patient: three planes through the largest area of the contour, a row per channel.

    Window of the CT −160 to 240 HU; of the PET 0 to the 99.7th percentile, at least 5, dark is high. The same
    crop gives the same bytes.

    Args:
        example: Images and contours without margin.
        sides: Letters at both ends of z, y and x, as :func:`pipeline.volumes.sides.side_letters` gives them.
        path: The file.
    """
    from PIL import Image

    names = list(example.images)[:CHANNELS]
    panels, parts, y = [], [], 0
    for name in names:
        x, height = 0, 0
        for plane in _planes(example):
            drawn = _slice_with_contours(example, name, plane)
            rows, columns = drawn.shape
            left, right = sides[SHOWN_AXES[plane][1]]
            panels.append(SlicePanel(_title(example, name, plane), x, y + BAND, columns, rows, left, right))
            parts.append(drawn)
            x, height = x + columns + GAP, max(height, rows)
        y += BAND + height + GAP
    width = max(panel.x + panel.width for panel in panels)
    sheet = np.full((y - GAP, width), GREYS - 1, dtype=np.uint8)
    for panel, part in zip(panels, parts, strict=True):
        sheet[panel.y : panel.y + panel.height, panel.x : panel.x + panel.width] = part
    picture = Image.fromarray(sheet).convert("P")
    picture.putpalette(_palette())
    picture.save(path, optimize=False, compress_level=6)
    high = slices.window("pet", example.images["pet"])[1] if "pet" in names else None
    manual, predicted = (
        mask is not None and bool(mask.any()) for mask in (example.manual, example.predicted)
    )
    return PatientPicture(path.name, width, y - GAP, tuple(panels), high, manual, predicted)


def _planes(example: Example) -> tuple[str, ...]:
    flat = next(iter(example.images.values())).shape[0] == 1
    return PLANES[:1] if flat else PLANES


def _title(example: Example, name: str, plane: str) -> str:
    image = example.images[name]
    low, high = slices.window(name, image)
    axis = OUT_OF_PLANE[plane]
    where = "" if image.shape[0] == 1 else f" {slices.focus(example)[axis] + 1} of {image.shape[axis]}"
    unit = {"pet": f"SUV 0 to {high:.1f}", "ct": f"{low:.0f} to {high:.0f} HU".replace("-", "−")}
    channel = name.upper() if name in unit else name
    return f"{channel}, {plane}{where}, {unit.get(name, f'{low:.3g} to {high:.3g}')}"


def _slice_with_contours(example: Example, name: str, plane: str) -> npt.NDArray[np.uint8]:
    """Palette indices of a slice with square pixels, contours drawn on it."""
    image = example.images[name]
    low, high = slices.window(name, image)
    grey = np.clip((_cut(image, example, plane) - low) / (high - low), 0, 1)
    grey = 1 - grey if name == "pet" else grey
    rows, columns = _pixels(example, plane)
    sheet = np.round(grey * (GREYS - 1)).astype(np.uint8)[np.ix_(rows, columns)]
    for mask, dashed in ((example.manual, False), (example.predicted, True)):
        if mask is not None:
            labels = _cut(mask, example, plane)[np.ix_(rows, columns)]
            _outline(sheet, labels, len(example.classes), dashed=dashed)
    return sheet


def _cut(volume: npt.NDArray[Any], example: Example, plane: str) -> npt.NDArray[Any]:
    """The slice (rows, columns) of a plane through the focus; z upwards."""
    axis = OUT_OF_PLANE[plane]
    cut: npt.NDArray[Any] = np.take(volume, slices.focus(example)[axis], axis=axis)
    return cut if axis == 0 else cut[::-1]


def _pixels(example: Example, plane: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """For each pixel's row and column of a plane the voxel's; all planes have one scale."""
    shape = next(iter(example.images.values())).shape
    (relative_y, relative_z), x = example.aspect, 1.0
    sizes = (relative_z, relative_y, x)
    longest = max(n * size for n, size in zip(shape, sizes, strict=True))
    scale = LONGEST / longest
    counts = [max(1, round(n * size * scale)) for n, size in zip(shape, sizes, strict=True)]
    voxels = [np.minimum(np.arange(m) * n // m, n - 1) for m, n in zip(counts, shape, strict=True)]
    first, second = SHOWN_AXES[plane]
    return voxels[first], voxels[second]


def _outline(sheet: npt.NDArray[np.uint8], labels: Labels, classes: int, *, dashed: bool) -> None:
    """Draw the borders of a mask, two pixels wide, a colour per class; predicted ones dashed."""
    y, x = np.indices(sheet.shape, sparse=True)
    drawn = ((x + y) // DASH) % 2 == 0 if dashed else np.ones(sheet.shape, dtype=bool)
    for label in range(1, max(classes, 1) + 1):
        inside = labels == label if classes else labels > 0
        colour = (label - 1) % len(CLASS_COLOURS) if classes else int(dashed)
        sheet[inside & ~_eroded(_eroded(inside)) & drawn] = GREYS + colour


def _eroded(mask: Mask) -> Mask:
    """A mask without its border pixels; what lies beyond the slice counts as inside."""
    wide = np.pad(mask, 1, constant_values=True)
    inner: Mask = mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return inner


def _palette() -> list[int]:
    greys = [round(255 * level / (GREYS - 1)) for level in range(GREYS)]
    colours = [class_colour(label + 1) for label in range(len(CLASS_COLOURS))]
    return [v for g in greys for v in (g, g, g)] + [
        int(colour[i : i + 2], 16) for colour in colours for i in (1, 3, 5)
    ]
