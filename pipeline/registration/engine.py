"""Rigid registration by ANTs.

`ants.registration` is given the arguments of the command line program `antsRegistration`,
which allow levels and sampling that its keyword arguments do not offer.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError, RegistrationError
from pipeline.registration.body_mask import BodyImage, BodyPair
from pipeline.registration.quality import shared_centre_mm
from pipeline.volumes.nifti import set_geometry
from pipeline.volumes.transform import inverse, read_matrix
from pipeline.volumes.volume import FloatArray

SEED = "20"
# Levels: shrink factor and smoothing SD (voxels). The finest level has half the sampling of the
# working grid: on phantoms, a level at full sampling took 5 times as long and gained nothing.
SHRINK, SMOOTH, ITERATIONS = "4x2", "2x1", "[100x60,1e-6,10]"
STEP = 0.1
SAMPLES = 12000


def rigid(bodies: BodyPair, start: FloatArray) -> FloatArray:
    """Register two bodies rigidly (Mattes mutual information, gradient descent).

    One thread and a fixed seed make two runs give the same bytes. Both images are moved so
    that the centre of what they share lies at the origin under `start`. The search then starts
    at the identity and rotates about that centre; rotation about a distant point would couple
    rotation and translation, and the descent would stall.

    Args:
        bodies: Template and patient.
        start: 4×4 rigid, template points to patient points (LPS mm).

    Returns:
        4×4 rigid, template points to patient points (LPS mm).

    Raises:
        RegistrationError: ANTs found no transform.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ["ANTS_RANDOM_SEED"] = SEED
    to_fixed = np.eye(4)
    to_fixed[:3, 3] = shared_centre_mm(bodies, start)
    to_moving = start @ to_fixed
    with tempfile.TemporaryDirectory(prefix="register-") as folder:
        fixed, moving = Path(folder, "fixed.nii"), Path(folder, "moving.nii")
        _write(fixed, bodies.fixed, inverse(to_fixed))
        _write(moving, bodies.moving, inverse(to_moving))
        matrix = _ants(fixed, moving, _sampling_rate(bodies.fixed))
    return np.asarray(to_moving @ matrix @ inverse(to_fixed), dtype=np.float64)


def _write(path: Path, body: BodyImage, move: FloatArray) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(body.image)
    set_geometry(image, body.grid)
    image.SetOrigin([float(v) for v in move[:3, :3] @ np.asarray(body.grid.origin_mm) + move[:3, 3]])
    image.SetDirection([float(v) for v in (move[:3, :3] @ np.asarray(body.grid.direction)).ravel()])
    sitk.WriteImage(image, str(path))


def _sampling_rate(fixed: BodyImage) -> float:
    """Share of the finest level's voxels that gives about 12,000 samples."""
    return float(min(1.0, SAMPLES / (fixed.image.size / 8)))


def _ants(fixed: Path, moving: Path, rate: float) -> FloatArray:
    prefix = fixed.with_name("out_")
    arguments = ["--dimensionality", "3", "--float", "1", "--random-seed", SEED]
    arguments += ["--metric", f"MI[{fixed},{moving},1,32,Regular,{rate:.6f}]"]
    arguments += ["--transform", f"Rigid[{STEP}]", "--convergence", ITERATIONS]
    arguments += ["--shrink-factors", SHRINK, "--smoothing-sigmas", SMOOTH]
    arguments += ["--collapse-output-transforms", "1", "--output", str(prefix)]
    _run_ants(arguments)
    result = Path(f"{prefix}0GenericAffine.mat")
    if not result.is_file():
        raise RegistrationError("ANTs found no transform", got="no transform file")
    return _nearest_rigid(read_matrix(result))


def _run_ants(arguments: list[str]) -> None:
    try:
        import ants
    except ImportError:
        raise PipelineError(
            "antspyx is not installed", action="pip install antspyx, or set registration.method: none"
        ) from None
    try:
        ants.registration(fixed=arguments, moving=None)
    except RuntimeError as error:
        raise RegistrationError("ANTs found no transform", got=str(error)) from None


def _nearest_rigid(matrix: FloatArray) -> FloatArray:
    """Remove the rounding of single precision: the nearest rotation, by singular values."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    rigid_matrix = matrix.copy()
    rigid_matrix[:3, :3] = u @ v
    if np.abs(rigid_matrix[:3, :3] - matrix[:3, :3]).max() > 1e-3 or np.linalg.det(u @ v) < 0:
        raise RegistrationError("ANTs returned a transform that is not rigid", got=str(matrix.round(4)))
    return rigid_matrix
