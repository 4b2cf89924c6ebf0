"""The last millimetres of a rigid alignment: correlation climbed by damped least squares.

Mutual information on some thousand samples (`engine`) finds the alignment but stalls in the
long valley that a field of view without landmarks has: of skulls seen alone it left 8 to 16
mm. Both images here are of one modality, so their correlation can be climbed directly, from
blurred to sharp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.registration.body_mask import BodyImage
from pipeline.volumes.volume import FloatArray

SAMPLES = 12000
STEPS = 30
RADIUS_MM = 80.0
"""A turn of 1/80 rad counts as 1 mm: the scale between rotation and translation."""
SHELL_VOXELS = 3
MIN_SEEN = 0.4
STILL_MM = 0.005
MOST_DAMPING = 1e5


@dataclass(frozen=True)
class _Problem:
    """Samples of the fixed image and the moving image with its gradient.

    Attributes:
        points: (n, 3) LPS mm, in and closely around the fixed body.
        values: (n,) the fixed image there.
        images: The moving image and its derivatives along array axes z, y, x.
        to_index: 4×4 from LPS points to array index (x, y, z) of the moving image.
        centre: LPS point the turns are about.
    """

    points: FloatArray
    values: FloatArray
    images: tuple[npt.NDArray[np.float32], ...]
    to_index: FloatArray
    centre: FloatArray


def refine(fixed: BodyImage, moving: BodyImage, start: FloatArray, blurs_mm: tuple[float, ...]) -> FloatArray:
    """Climb the correlation of two bodies' images of one modality from a start.

    Gauss–Newton steps with Levenberg's damping on standardised intensities; the mean square of
    their difference is 2 − 2 × correlation. Deterministic, and without threaded algebra.

    Args:
        fixed: The template.
        moving: The patient.
        start: 4×4 rigid, template points to patient points (LPS mm).
        blurs_mm: Standard deviations of the Gaussians both images are blurred with, one after
            the other; 0: none.

    Returns:
        4×4 rigid, template points to patient points (LPS mm).
    """
    matrix = start
    for blur_mm in blurs_mm:
        matrix = _climb(_problem(fixed, moving, blur_mm), matrix)
    return matrix


def _problem(fixed: BodyImage, moving: BodyImage, blur_mm: float) -> _Problem:
    from scipy.ndimage import binary_dilation

    around = np.argwhere(binary_dilation(fixed.mask, iterations=SHELL_VOXELS))
    chosen = around[:: max(1, len(around) // SAMPLES)]
    points = fixed.grid.points(chosen)
    values = _blurred(fixed, blur_mm)[tuple(chosen.T)].astype(np.float64)
    image = _blurred(moving, blur_mm)
    slopes = [np.gradient(image, axis=axis).astype(np.float32) for axis in range(3)]
    to_index: FloatArray = np.asarray(np.linalg.inv(moving.grid.affine()), dtype=np.float64)
    return _Problem(points, values, (image, *slopes), to_index, points.mean(axis=0))


def _blurred(body: BodyImage, blur_mm: float) -> npt.NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    if blur_mm == 0:
        return body.image
    sigma = [blur_mm / s for s in body.grid.spacing_mm]
    return np.asarray(gaussian_filter(body.image, sigma, mode="nearest"), dtype=np.float32)


def _climb(problem: _Problem, start: FloatArray) -> FloatArray:
    matrix, damping = start, 1e-2
    cost, slope, curvature = _linearised(problem, matrix)
    for _ in range(STEPS):
        if damping > MOST_DAMPING or not np.isfinite(cost):
            break
        damped = curvature + damping * np.diag(np.diag(curvature) + 1e-9)
        step: FloatArray = np.asarray(-np.linalg.solve(damped, slope), dtype=np.float64)
        trial: FloatArray = np.asarray(matrix @ _small(step, problem.centre), dtype=np.float64)
        found = _linearised(problem, trial)
        if found[0] >= cost:
            damping *= 4.0
            continue
        matrix, damping = trial, damping / 3.0
        cost, slope, curvature = found
        if np.abs(step).max() < STILL_MM:
            break
    return matrix


def _linearised(problem: _Problem, matrix: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Cost (2 − 2 × correlation), its slope (6) and curvature (6, 6); infinite where too little is seen."""
    from scipy.ndimage import map_coordinates

    turn = matrix[:3, :3]
    placed = problem.points @ turn.T + matrix[:3, 3]
    index = (placed @ problem.to_index[:3, :3].T + problem.to_index[:3, 3])[:, ::-1]
    seen = np.all((index >= 0) & (index <= np.array(problem.images[0].shape) - 1), axis=1)
    if seen.mean() < MIN_SEEN:
        return np.inf, np.zeros(6), np.eye(6)
    at = index[seen].T
    value, *slopes = (map_coordinates(i, at, order=1, output=np.float64) for i in problem.images)
    spread = float(value.std()) or 1.0
    residual = (value - value.mean()) / spread - _standard(problem.values[seen])
    # slope along array axes (z, y, x) → along patient axes → along template axes
    along = np.stack(slopes[::-1], axis=1) @ problem.to_index[:3, :3] @ turn / spread
    turns = np.cross(problem.points[seen] - problem.centre, along) / RADIUS_MM
    jacobian = np.concatenate([turns, along], axis=1)
    # einsum and not BLAS: the same bits whatever the number of threads
    slope = np.einsum("ni,n->i", jacobian, residual)
    curvature = np.einsum("ni,nj->ij", jacobian, jacobian)
    return float(np.mean(residual**2)), slope, curvature


def _standard(values: FloatArray) -> FloatArray:
    return np.asarray((values - values.mean()) / (float(values.std()) or 1.0), dtype=np.float64)


def _small(step: FloatArray, centre: FloatArray) -> FloatArray:
    """4×4 of a step: a turn (rotation vector × RADIUS_MM) about a centre, then a shift (mm)."""
    from scipy.spatial.transform import Rotation

    matrix: FloatArray = np.eye(4, dtype=np.float64)
    matrix[:3, :3] = Rotation.from_rotvec(step[:3] / RADIUS_MM).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + step[3:]
    return matrix
