"""The last millimetres of a rigid alignment: correlation maximised by damped least squares.

Mutual information of some thousand samples (`engine`) finds the alignment, but it stalls where
the field of view holds few landmarks: of skulls seen alone it left errors of 8 to 16 mm. Where
both images are of one modality, their correlation can be maximised directly, from blurred to
sharp images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.registration.body_mask import BodyImage, BodyPair
from pipeline.volumes.volume import FloatArray

SAMPLES = 12000
STEPS = 30
RADIUS_MM = 80.0
"""A rotation of 1/80 rad counts as 1 mm: the scale between rotation and translation."""
SHELL_VOXELS = 3
MIN_VISIBLE = 0.4
"""Share of the samples that must lie inside the moving image."""
CONVERGED_MM = 0.005
MAX_DAMPING = 1e5


@dataclass(frozen=True)
class _Problem:
    """Samples of the fixed image and the moving image with its gradient.

    Attributes:
        points: (n, 3) LPS mm, in and closely around the fixed body.
        values: (n,) the fixed image at these points.
        images: The moving image and its derivatives along array axes z, y, x.
        to_index: 4×4 from LPS points to array index (x, y, z) of the moving image.
        centre: LPS point that rotations are about.
    """

    points: FloatArray
    values: FloatArray
    images: tuple[npt.NDArray[np.float32], ...]
    to_index: FloatArray
    centre: FloatArray


@dataclass(frozen=True)
class _Linearisation:
    """The least-squares problem around a transform.

    Attributes:
        cost: 2 − 2 × correlation; infinite where too little of the fixed body is visible.
        gradient: (6,) its slope along rotations and shifts.
        curvature: (6, 6) Gauss–Newton's approximation of the second derivatives.
    """

    cost: float
    gradient: FloatArray
    curvature: FloatArray


def refine(bodies: BodyPair, start: FloatArray, blurs_mm: tuple[float, ...]) -> FloatArray:
    """Maximise the correlation of two bodies' images of one modality from a start.

    Gauss–Newton steps with Levenberg's damping on standardised intensities; the mean square of
    their difference is 2 − 2 × correlation. Deterministic, and without threaded algebra.

    Args:
        bodies: Template and patient.
        start: 4×4 rigid, template points to patient points (LPS mm).
        blurs_mm: Standard deviations of the Gaussians that both images are blurred with, one
            after the other; 0: none.

    Returns:
        4×4 rigid, template points to patient points (LPS mm).
    """
    matrix = start
    for blur_mm in blurs_mm:
        matrix = _minimise(_problem(bodies, blur_mm), matrix)
    return matrix


def _problem(bodies: BodyPair, blur_mm: float) -> _Problem:
    from scipy.ndimage import binary_dilation

    fixed, moving = bodies.fixed, bodies.moving
    around = np.argwhere(binary_dilation(fixed.mask, iterations=SHELL_VOXELS))
    samples = around[:: max(1, len(around) // SAMPLES)]
    points = fixed.grid.points(samples)
    values = _blurred(fixed, blur_mm)[tuple(samples.T)].astype(np.float64)
    image = _blurred(moving, blur_mm)
    gradients = [np.gradient(image, axis=axis).astype(np.float32) for axis in range(3)]
    to_index: FloatArray = np.asarray(np.linalg.inv(moving.grid.affine()), dtype=np.float64)
    return _Problem(points, values, (image, *gradients), to_index, points.mean(axis=0))


def _blurred(body: BodyImage, blur_mm: float) -> npt.NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter

    if blur_mm == 0:
        return body.image
    sigma = [blur_mm / s for s in body.grid.spacing_mm]
    return np.asarray(gaussian_filter(body.image, sigma, mode="nearest"), dtype=np.float32)


def _minimise(problem: _Problem, start: FloatArray) -> FloatArray:
    matrix, damping = start, 1e-2
    best = _linearise(problem, matrix)
    for _ in range(STEPS):
        if damping > MAX_DAMPING or not np.isfinite(best.cost):
            break
        damped = best.curvature + damping * np.diag(np.diag(best.curvature) + 1e-9)
        step: FloatArray = np.asarray(-np.linalg.solve(damped, best.gradient), dtype=np.float64)
        candidate: FloatArray = np.asarray(matrix @ _step_matrix(step, problem.centre), dtype=np.float64)
        trial = _linearise(problem, candidate)
        if trial.cost >= best.cost:
            damping *= 4.0
            continue
        matrix, damping, best = candidate, damping / 3.0, trial
        if np.abs(step).max() < CONVERGED_MM:
            break
    return matrix


def _linearise(problem: _Problem, matrix: FloatArray) -> _Linearisation:
    from scipy.ndimage import map_coordinates

    rotation = matrix[:3, :3]
    moved = problem.points @ rotation.T + matrix[:3, 3]
    index = (moved @ problem.to_index[:3, :3].T + problem.to_index[:3, 3])[:, ::-1]
    visible = np.all((index >= 0) & (index <= np.array(problem.images[0].shape) - 1), axis=1)
    if visible.mean() < MIN_VISIBLE:
        return _Linearisation(np.inf, np.zeros(6), np.eye(6))
    at = index[visible].T
    values, *gradients = (map_coordinates(i, at, order=1, output=np.float64) for i in problem.images)
    spread = float(values.std()) or 1.0
    residual = (values - values.mean()) / spread - _standardise(problem.values[visible])
    # Gradient along array axes (z, y, x) → along patient axes → along template axes.
    shifts = np.stack(gradients[::-1], axis=1) @ problem.to_index[:3, :3] @ rotation / spread
    rotations = np.cross(problem.points[visible] - problem.centre, shifts) / RADIUS_MM
    jacobian = np.concatenate([rotations, shifts], axis=1)
    # einsum instead of BLAS: the same bits whatever the number of threads.
    gradient = np.einsum("ni,n->i", jacobian, residual)
    curvature = np.einsum("ni,nj->ij", jacobian, jacobian)
    return _Linearisation(float(np.mean(residual**2)), gradient, curvature)


def _standardise(values: FloatArray) -> FloatArray:
    return np.asarray((values - values.mean()) / (float(values.std()) or 1.0), dtype=np.float64)


def _step_matrix(step: FloatArray, centre: FloatArray) -> FloatArray:
    """4×4 of a step: a rotation (rotation vector × RADIUS_MM) about a centre, then a shift (mm)."""
    from scipy.spatial.transform import Rotation

    matrix: FloatArray = np.eye(4, dtype=np.float64)
    matrix[:3, :3] = Rotation.from_rotvec(step[:3] / RADIUS_MM).as_matrix()
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + step[3:]
    return matrix
