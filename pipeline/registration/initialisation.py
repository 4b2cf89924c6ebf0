"""Initial transforms: where the search for an alignment starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.registration.body_mask import BodyImage, BodyPair
from pipeline.registration.quality import Fit, measure, rotation_deg, shift_mm
from pipeline.registration.refine import refine
from pipeline.volumes.transform import inverse
from pipeline.volumes.volume import FloatArray, Grid

SLIDES_MM = tuple(range(-160, 161, 20))
ROTATIONS_DEG = (-15.0, 15.0)
COARSE_BLURS_MM = (16.0, 8.0)
REFINED = 6
"""Number of transforms that are refined on the coarse grid."""
MIN_SHIFT_MM, MIN_ROTATION_DEG = 15.0, 8.0
"""Transforms that differ by more than one of these count as distinct."""
Origin = Literal["as scanned", "centres of the bodies", "search"]


@dataclass(frozen=True)
class InitialTransform:
    """A transform that a search may start from.

    Attributes:
        fit: The transform, and how well it fits on every second voxel of the working grid.
        origin: Where it comes from.
    """

    fit: Fit
    origin: Origin


def initial_transforms(bodies: BodyPair) -> list[InitialTransform]:
    """Transforms to start from, best first.

    Shifts (as scanned, aligned centres, aligned tops of the bodies, slides along the body) and
    rotations of the best of them are ranked by the correlation of all that both images show,
    air included, on every second voxel. The best of those that differ are refined by the
    correlation of the blurred images. The transforms `as scanned` and `centres of the bodies`
    are part of the result, unrefined.

    Args:
        bodies: Template and patient; images of one modality (of two: see :func:`outline`).
    """
    thinned = BodyPair(_thinned(bodies.fixed), _thinned(bodies.moving))
    pivot = bodies.fixed.centre_mm()
    shifts = _shifts(bodies)
    ranked = sorted((measure(thinned, m, "wide") for m in shifts), key=_descending)
    rotated = [
        ranked[0].matrix @ _rotation(axis, angle, pivot) for axis in range(3) for angle in ROTATIONS_DEG
    ]
    ranked = sorted([*ranked, *(measure(thinned, m, "wide") for m in rotated)], key=_descending)
    transforms = [
        InitialTransform(measure(thinned, shifts[0]), "as scanned"),
        InitialTransform(measure(thinned, shifts[1]), "centres of the bodies"),
    ]
    for fit in distinct(ranked, pivot, REFINED):
        refined = refine(thinned, fit.matrix, COARSE_BLURS_MM)
        transforms.append(InitialTransform(measure(thinned, refined), "search"))
    return sorted(transforms, key=lambda transform: _descending(transform.fit))


def outline(body: BodyImage) -> BodyImage:
    """The shape of a body as an image, which two modalities have in common."""
    return replace(body, image=body.mask.astype(np.float32))


def distinct(fits: list[Fit], pivot: FloatArray, number: int) -> list[Fit]:
    """At most `number` fits, each of which differs from all better ones."""
    chosen: list[Fit] = []
    for fit in fits:
        if all(differ(fit.matrix, other.matrix, pivot) for other in chosen):
            chosen.append(fit)
        if len(chosen) == number:
            break
    return chosen


def differ(first: FloatArray, second: FloatArray, pivot: FloatArray) -> bool:
    """Whether two transforms differ by more than 15 mm at a point or by more than 8 degrees."""
    gap = float(np.linalg.norm(shift_mm(first, pivot) - shift_mm(second, pivot)))
    return gap > MIN_SHIFT_MM or rotation_deg(inverse(first) @ second) > MIN_ROTATION_DEG


def _shifts(bodies: BodyPair) -> list[FloatArray]:
    """As scanned, aligned centres, aligned tops, then slides of the centres along the body."""
    fixed, moving = bodies.fixed, bodies.moving
    centre = moving.centre_mm() - fixed.centre_mm()
    top = centre.copy()
    top[2] = moving.top_mm() - fixed.top_mm()
    slides = [centre + np.array([0.0, 0.0, float(step)]) for step in SLIDES_MM if step]
    return [_translation(shift) for shift in (np.zeros(3), centre, top, *slides)]


def _descending(fit: Fit) -> float:
    return -fit.similarity


def _thinned(body: BodyImage) -> BodyImage:
    """Every second voxel along each axis."""
    grid, every_second = body.grid, (slice(None, None, 2),) * 3
    image, mask = body.image[every_second], body.mask[every_second]
    a, b, c = (2 * s for s in grid.spacing_mm)
    thin = Grid((image.shape[0], image.shape[1], image.shape[2]), (a, b, c), grid.origin_mm, grid.direction)
    return BodyImage(image, mask, thin)


def _translation(shift: FloatArray) -> FloatArray:
    matrix: FloatArray = np.eye(4, dtype=np.float64)
    matrix[:3, 3] = shift
    return matrix


def _rotation(axis: int, angle_deg: float, pivot: FloatArray) -> FloatArray:
    angle = np.radians(angle_deg)
    first, second = [i for i in range(3) if i != axis]
    matrix: FloatArray = np.eye(4, dtype=np.float64)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    matrix[:3, 3] = pivot - matrix[:3, :3] @ pivot
    return matrix
