"""Rigid and affine transforms as ITK files, and how a patient's PET lies on the CT.

"Scanner coordinates" are the CT's. They are the PET's too, unless `convert` recorded that the
frames of reference differ and that the PET is to be registered (`pet_to_ct` in `pet.json`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import GeometryError, PipelineError
from pipeline.tables.failures import damage
from pipeline.volumes.volume import FloatArray

PET_MATRIX = "pet_to_ct.mat"


def read_matrix(path: Path) -> FloatArray:
    """4×4 matrix (LPS mm, points of the fixed image to points of the moving one) of an ITK transform file.

    Raises:
        DamageError: The file, which the pipeline wrote, cannot be read.
        GeometryError: It is not a linear transform.
    """
    import SimpleITK as sitk

    try:
        transform = sitk.ReadTransform(str(path))
    except RuntimeError:
        raise damage(path, "an ITK transform", "a file that ITK cannot read") from None
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


def transform_points(matrix: npt.NDArray[Any], points: FloatArray) -> FloatArray:
    """Points (n, 3) moved by a 4×4."""
    return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3], dtype=np.float64)


def write_matrix(path: Path, matrix: FloatArray) -> None:
    """Write a 4×4 as an ITK transform file (by its ending: `.mat` MATLAB 4, `.tfm` text)."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in matrix[:3, :3].ravel()])
    transform.SetTranslation([float(v) for v in matrix[:3, 3]])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteTransform(transform, str(path))


def must_register_pet(convert: Path) -> bool:
    """Whether `convert` says that the PET is to be registered to the CT.

    Args:
        convert: The patient's folder; without `pet.json` PET and CT share a frame.
    """
    header = convert / "pet.json"
    if not header.is_file():
        return False
    return bool(json.loads(header.read_text(encoding="utf-8")).get("pet_to_ct") == "register")


def pet_matrix(convert: Path, registration: Path | None) -> FloatArray:
    """4×4 from scanner (CT) points to PET points (LPS mm); the identity where they share a frame.

    Args:
        convert: Folder of `convert`.
        registration: Folder of `registration`.

    Raises:
        PipelineError: The PET is to be registered, but there is no result.
    """
    if not must_register_pet(convert):
        return np.eye(4, dtype=np.float64)
    if registration is None or not (registration / PET_MATRIX).is_file():
        raise PipelineError(
            "the PET does not share the CT's frame of reference and was not registered",
            where=str(convert / "pet.json"),
            expected=f"registration/{convert.name}/{PET_MATRIX}",
            got="none",
            action="run the rule `register` again",
        )
    return registered_pet(registration)


def registered_pet(registration: Path) -> FloatArray:
    """4×4 from scanner points to PET points of a registered patient; else the identity."""
    path = registration / PET_MATRIX
    return read_matrix(path) if path.is_file() else np.eye(4, dtype=np.float64)
