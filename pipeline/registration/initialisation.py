"""Where to start looking for an alignment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.registration.body_mask import BodyImage
from pipeline.registration.quality import Fit, measure, rotation_deg, shift_mm
from pipeline.registration.refine import refine
from pipeline.volumes.transform import inverse
from pipeline.volumes.volume import FloatArray, Grid

SLIDES_MM = tuple(range(-160, 161, 20))
TURNS_DEG = (-15.0, 15.0)
COARSE_BLURS_MM = (16.0, 8.0)
CLIMBED = 6
"""Starts that are climbed from on the coarse grid."""
Origin = Literal["as scanned", "centres of the bodies", "search"]


@dataclass(frozen=True)
class Start:
    """A starting position.

    Attributes:
        fit: The transform, and how well it fits on every second voxel of the working grid.
        origin: Where it comes from.
    """

    fit: Fit
    origin: Origin


def starts(fixed: BodyImage, moving: BodyImage) -> list[Start]:
    """Starting positions, best first.

    Shifts (as scanned, centres, tops of the bodies, slides along the body) and turns of the
    best of them are ranked by the correlation of all that both images show, air included, on
    every second voxel. From the best that lie apart the blurred images' correlation is
    climbed. As scanned and centres are among the result as they are.

    Args:
        fixed: The template.
        moving: The patient; an image of the same modality (of two: see :func:`outline`).
    """
    few, few_moving = _thinned(fixed), _thinned(moving)
    centre = moving.centre_mm() - fixed.centre_mm()
    top = centre.copy()
    top[2] = moving.top_mm() - fixed.top_mm()
    slides = [centre + np.array([0.0, 0.0, float(step)]) for step in SLIDES_MM if step]
    shifts = [_translation(s) for s in (np.zeros(3), centre, top, *slides)]
    wide = sorted((measure(few, few_moving, m, "wide") for m in shifts), key=_score)
    pivot = fixed.centre_mm()
    turns = [wide[0].matrix @ _turn(axis, angle, pivot) for axis in range(3) for angle in TURNS_DEG]
    wide = sorted([*wide, *(measure(few, few_moving, m, "wide") for m in turns)], key=_score)
    found = [
        Start(measure(few, few_moving, shifts[0]), "as scanned"),
        Start(measure(few, few_moving, shifts[1]), "centres of the bodies"),
    ]
    for fit in distinct(wide, pivot, CLIMBED):
        climbed = refine(few, few_moving, fit.matrix, COARSE_BLURS_MM)
        found.append(Start(measure(few, few_moving, climbed), "search"))
    return sorted(found, key=lambda start: _score(start.fit))


def outline(body: BodyImage) -> BodyImage:
    """The body's shape as an image, which two modalities have in common."""
    return replace(body, image=body.mask.astype(np.float32))


def distinct(fits: list[Fit], pivot: FloatArray, wanted: int) -> list[Fit]:
    """The best starts that differ by 15 mm or 8 degrees from all better ones."""
    chosen: list[Fit] = []
    for fit in fits:
        if all(apart(fit.matrix, other.matrix, pivot) for other in chosen):
            chosen.append(fit)
        if len(chosen) == wanted:
            break
    return chosen


def apart(first: FloatArray, second: FloatArray, pivot: FloatArray) -> bool:
    """Whether two transforms differ by 15 mm at a point or by 8 degrees."""
    gap = float(np.linalg.norm(shift_mm(first, pivot) - shift_mm(second, pivot)))
    return gap > 15.0 or rotation_deg(inverse(first) @ second) > 8.0


def _score(fit: Fit) -> float:
    return -fit.similarity


def _thinned(body: BodyImage) -> BodyImage:
    grid, few = body.grid, slice(None, None, 2)
    image, mask = body.image[few, few, few], body.mask[few, few, few]
    a, b, c = (2 * s for s in grid.spacing_mm)
    thin = Grid((image.shape[0], image.shape[1], image.shape[2]), (a, b, c), grid.origin_mm, grid.direction)
    return BodyImage(image, mask, thin)


def _translation(shift: FloatArray) -> FloatArray:
    matrix: FloatArray = np.eye(4, dtype=np.float64)
    matrix[:3, 3] = shift
    return matrix


def _turn(axis: int, angle_deg: float, pivot: FloatArray) -> FloatArray:
    angle = np.radians(angle_deg)
    first, second = [i for i in range(3) if i != axis]
    matrix: FloatArray = np.eye(4, dtype=np.float64)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    matrix[:3, 3] = pivot - matrix[:3, :3] @ pivot
    return matrix
