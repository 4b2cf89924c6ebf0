"""How well two bodies lie on each other, and where to start looking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.registration.bodies import Body
from pipeline.volumes.resample import Sampling, in_field, resample
from pipeline.volumes.transform import inverse
from pipeline.volumes.volume import FloatArray, Grid, Volume

MIN_SHARED = 0.4
"""Share of the smaller body that must lie in both fields of view for a start to count."""
SLIDES_MM = tuple(range(-160, 161, 20))
TURNS_DEG = (-15.0, 15.0)


@dataclass(frozen=True)
class Fit:
    """How well a transform fits.

    Attributes:
        matrix: 4×4, template points to patient points (LPS mm).
        similarity: Correlation of the images where either is body, in both fields of view
            (1: equal; higher is better); -1 where too little is shared.
        overlap: Dice of the two bodies within both fields of view.
    """

    matrix: FloatArray
    similarity: float
    overlap: float


def measure(fixed: Body, moving: Body, matrix: FloatArray) -> Fit:
    """Similarity and overlap under a transform."""
    image, mask = moved(fixed, moving, matrix)
    seen = in_field(moving.grid, fixed.grid, matrix)
    both, either = fixed.mask & mask & seen, (fixed.mask | mask) & seen
    needed = MIN_SHARED * min(fixed.mask.sum(), moving.mask.sum() * _ratio(fixed, moving))
    shared = (fixed.mask & seen).sum()
    if shared < needed or mask.sum() < needed:
        return Fit(matrix, -1.0, 0.0)
    overlap = 2.0 * both.sum() / max(1, shared + (mask & seen).sum())
    return Fit(matrix, _correlation(fixed.image[either], image[either]), float(overlap))


def shared_centre_mm(fixed: Body, moving: Body, matrix: FloatArray) -> FloatArray:
    """Centre (LPS x, y, z) of the part of the fixed body that the moving image shows too."""
    shared = fixed.mask & in_field(moving.grid, fixed.grid, matrix)
    if not shared.any():
        return fixed.centre_mm()
    return np.asarray(fixed.grid.points(np.argwhere(shared).mean(axis=0))[0], dtype=np.float64)


def moved(
    fixed: Body, moving: Body, matrix: FloatArray
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The moving image and its body on the fixed grid."""
    air = float(moving.image.min())
    image = resample(Volume(moving.image, moving.grid), fixed.grid, matrix, Sampling("linear", air))
    body = Volume(moving.mask.astype(np.float32), moving.grid)
    return image, resample(body, fixed.grid, matrix, Sampling("linear", 0.0)) >= 0.5


def starts(fixed: Body, moving: Body) -> list[Fit]:
    """Starting positions, best first: as scanned, centres, tops of the bodies, slides along
    the body from there, and turns.

    Scored on every second voxel of the working grid.
    """
    few, few_moving = _thinned(fixed), _thinned(moving)
    centre = moving.centre_mm() - fixed.centre_mm()
    top = centre.copy()
    top[2] = moving.top_mm() - fixed.top_mm()
    shifts = [np.zeros(3), centre, top]
    shifts += [centre + np.array([0.0, 0.0, float(step)]) for step in SLIDES_MM if step]
    fits = sorted((measure(few, few_moving, _translation(s)) for s in shifts), key=_score)
    pivot = fixed.centre_mm()
    turned = [
        measure(few, few_moving, fits[0].matrix @ _turn(axis, angle, pivot))
        for axis in range(3)
        for angle in TURNS_DEG
    ]
    return sorted([*fits, *turned], key=_score)


def distinct(fits: list[Fit], pivot: FloatArray, wanted: int) -> list[Fit]:
    """The best starts that differ by 15 mm or 8 degrees from all better ones."""
    chosen: list[Fit] = []
    for fit in fits:
        if all(_apart(fit.matrix, other.matrix, pivot) for other in chosen):
            chosen.append(fit)
        if len(chosen) == wanted:
            break
    return chosen


def rotation_deg(matrix: FloatArray) -> float:
    """Angle of a rigid transform's rotation (degrees)."""
    cosine = (np.trace(matrix[:3, :3]) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def shift_mm(matrix: FloatArray, point: FloatArray) -> FloatArray:
    """Where a transform moves a point to, relative to the point (LPS mm)."""
    return np.asarray(matrix[:3, :3] @ point + matrix[:3, 3] - point, dtype=np.float64)


def _score(fit: Fit) -> float:
    return -fit.similarity


def _apart(first: FloatArray, second: FloatArray, pivot: FloatArray) -> bool:
    gap = float(np.linalg.norm(shift_mm(first, pivot) - shift_mm(second, pivot)))
    return gap > 15.0 or rotation_deg(inverse(first) @ second) > 8.0


def _thinned(body: Body) -> Body:
    grid, few = body.grid, slice(None, None, 2)
    image, mask = body.image[few, few, few], body.mask[few, few, few]
    a, b, c = (2 * s for s in grid.spacing_mm)
    thin = Grid((image.shape[0], image.shape[1], image.shape[2]), (a, b, c), grid.origin_mm, grid.direction)
    return Body(image, mask, thin)


def _ratio(fixed: Body, moving: Body) -> float:
    return moving.grid.voxel_ml() / fixed.grid.voxel_ml()


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    a, b = first - first.mean(dtype=np.float64), second - second.mean(dtype=np.float64)
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else -1.0


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
