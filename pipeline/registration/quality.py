"""How well two bodies are aligned: similarity of the images, overlap of the masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.registration.body_mask import BodyImage, BodyPair
from pipeline.volumes.grids import in_field
from pipeline.volumes.resample import Sampling, resample
from pipeline.volumes.volume import FloatArray, Volume

MIN_SHARED = 0.4
"""Share of the smaller body that must lie in both fields of view for a transform to count."""
BINS = 32
SimilarityMeasure = Literal["correlation", "information", "wide"]
"""Correlation or mutual information where either image shows body; correlation of all that both
images show, air included (`wide`), which also guides transforms that are far off."""


@dataclass(frozen=True)
class Fit:
    """How well a transform aligns two bodies.

    Attributes:
        matrix: 4×4, template points to patient points (LPS mm).
        similarity: Similarity of the images within both fields of view; higher is better, -1
            where too little is shared. For images of one modality it is the correlation
            (1: equal), for two modalities mutual information over the mean of both entropies
            (0: independent, 1: each determines the other).
        overlap: Dice of the two bodies within both fields of view.
    """

    matrix: FloatArray
    similarity: float
    overlap: float


def measure(bodies: BodyPair, matrix: FloatArray, similarity: SimilarityMeasure = "correlation") -> Fit:
    """Similarity and overlap of two bodies under a transform."""
    fixed, moving = bodies.fixed, resample_moving(bodies, matrix)
    seen = in_field(bodies.moving.grid, fixed.grid, matrix)
    both, either = fixed.mask & moving.mask & seen, (fixed.mask | moving.mask) & seen
    needed = MIN_SHARED * min(fixed.mask.sum(), bodies.moving.mask.sum() * _volume_ratio(bodies))
    shared = (fixed.mask & seen).sum()
    if shared < needed or moving.mask.sum() < needed:
        return Fit(matrix, -1.0, 0.0)
    overlap = 2.0 * both.sum() / max(1, shared + (moving.mask & seen).sum())
    where = seen if similarity == "wide" else either
    compare = _information if similarity == "information" else _correlation
    return Fit(matrix, compare(fixed.image[where], moving.image[where]), float(overlap))


def shared_centre_mm(bodies: BodyPair, matrix: FloatArray) -> FloatArray:
    """Centre (LPS x, y, z) of the part of the fixed body that the moving image shows too."""
    fixed = bodies.fixed
    shared = fixed.mask & in_field(bodies.moving.grid, fixed.grid, matrix)
    if not shared.any():
        return fixed.centre_mm()
    return np.asarray(fixed.grid.points(np.argwhere(shared).mean(axis=0))[0], dtype=np.float64)


def resample_moving(bodies: BodyPair, matrix: FloatArray) -> BodyImage:
    """The moving image and its body on the fixed grid."""
    moving, grid = bodies.moving, bodies.fixed.grid
    air = float(moving.image.min())
    image = resample(Volume(moving.image, moving.grid), grid, matrix, Sampling("linear", air))
    body = Volume(moving.mask.astype(np.float32), moving.grid)
    return BodyImage(image, resample(body, grid, matrix, Sampling("linear", 0.0)) >= 0.5, grid)


def rotation_deg(matrix: FloatArray) -> float:
    """Angle of a rigid transform's rotation (degrees)."""
    cosine = (np.trace(matrix[:3, :3]) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def shift_mm(matrix: FloatArray, point: FloatArray) -> FloatArray:
    """Where a transform moves a point to, relative to the point (LPS mm)."""
    return np.asarray(matrix[:3, :3] @ point + matrix[:3, 3] - point, dtype=np.float64)


def _volume_ratio(bodies: BodyPair) -> float:
    return bodies.moving.grid.voxel_ml() / bodies.fixed.grid.voxel_ml()


def _correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    a, b = first - first.mean(dtype=np.float64), second - second.mean(dtype=np.float64)
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else -1.0


def _information(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    joint, _, _ = np.histogram2d(first, second, bins=BINS)
    share = joint / joint.sum()
    entropies = _entropy(share.sum(axis=0)) + _entropy(share.sum(axis=1))
    return float(2.0 * (entropies - _entropy(share)) / entropies) if entropies > 0 else 0.0


def _entropy(share: FloatArray) -> float:
    filled = share[share > 0]
    return float(-(filled * np.log(filled)).sum())
