"""Rigid and affine transforms as ITK files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.errors import GeometryError
from pipeline.volumes.volume import FloatArray


def read_matrix(path: Path) -> FloatArray:
    """4×4 matrix (LPS mm, points of the fixed image to points of the moving one) of an ITK transform file.

    Raises:
        GeometryError: The file cannot be read or is not a linear transform.
    """
    import SimpleITK as sitk

    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError:
        raise GeometryError("a transform file cannot be read", where=str(path)) from None
    if not transform.IsLinear():
        raise GeometryError("a transform is not linear", where=str(path), got=transform.GetName())
    matrix: FloatArray = np.eye(4, dtype=np.float64)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        unit = [0.0, 0.0, 0.0]
        unit[axis] = 1.0
        matrix[:3, axis] = np.asarray(transform.TransformPoint(unit)) - matrix[:3, 3]
    return matrix


def inverse(matrix: FloatArray) -> FloatArray:
    """The 4×4 of the opposite direction."""
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def write_matrix(path: Path, matrix: FloatArray) -> None:
    """Write a 4×4 as an ITK transform file (by its ending: `.mat` MATLAB 4, `.tfm` text)."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in matrix[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in matrix[:3, 3]])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteTransform(transform, str(path))
