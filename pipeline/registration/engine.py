"""Rigid registration by ANTs, through the command line's own arguments.

The compiled module of antspyx is loaded without the package around it: `import ants` takes
1.4 s (pandas, matplotlib, scikit-learn), its module 0.03 s, and the call below is the one
that `ants.registration` makes when it is given a list of arguments.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import numpy as np

from pipeline.errors import PipelineError, RegistrationError
from pipeline.registration.body_mask import BodyImage
from pipeline.registration.quality import shared_centre_mm
from pipeline.volumes.nifti import set_geometry
from pipeline.volumes.transform import inverse, read_matrix
from pipeline.volumes.volume import FloatArray

SEED = "20"
# Levels: shrink factor and smoothing SD (voxels); the finest one at half the working grid's
# sampling: on phantoms a level at full sampling took 5 times as long and gained nothing.
SHRINK, SMOOTH, ITERATIONS = "4x2", "2x1", "[100x60,1e-6,10]"
STEP = 0.1
SAMPLES = 12000


def rigid(fixed: BodyImage, moving: BodyImage, start: FloatArray) -> FloatArray:
    """Register two bodies rigidly (Mattes mutual information, gradient descent).

    One thread and a fixed seed: two runs give the same bytes. Both images are moved so that
    the pivot and its place under `start` lie at the origin; so the search starts at identity
    and turns about the pivot (turning about a point far from what both images show couples
    rotation and translation, and the descent stalls).

    Args:
        fixed: The template.
        moving: The patient.
        start: 4×4 rigid, template points to patient points (LPS mm).

    Returns:
        4×4 rigid, template points to patient points (LPS mm).

    Raises:
        RegistrationError: ANTs found no transform.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    os.environ["ANTS_RANDOM_SEED"] = SEED
    to_fixed = np.eye(4)
    to_fixed[:3, 3] = shared_centre_mm(fixed, moving, start)
    to_moving = start @ to_fixed
    with tempfile.TemporaryDirectory(prefix="register-") as folder:
        first, second = Path(folder, "fixed.nii"), Path(folder, "moving.nii")
        _write(first, fixed, inverse(to_fixed))
        _write(second, moving, inverse(to_moving))
        found = _ants(first, second, _sampling_rate(fixed))
    return np.asarray(to_moving @ found @ inverse(to_fixed), dtype=np.float64)


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
    code = _library().antsRegistration(arguments)
    result = Path(f"{prefix}0GenericAffine.mat")
    if code != 0 or not result.is_file():
        raise RegistrationError("ANTs found no transform", got=f"exit code {code}")
    return _nearest_rigid(read_matrix(result))


def _nearest_rigid(matrix: FloatArray) -> FloatArray:
    """Remove single precision's rounding: the nearest rotation, by singular values."""
    u, _, v = np.linalg.svd(matrix[:3, :3])
    rigid_matrix = matrix.copy()
    rigid_matrix[:3, :3] = u @ v
    if np.abs(rigid_matrix[:3, :3] - matrix[:3, :3]).max() > 1e-3 or np.linalg.det(u @ v) < 0:
        raise RegistrationError("ANTs returned a transform that is not rigid", got=str(matrix.round(4)))
    return rigid_matrix


def _library() -> ModuleType:
    """The compiled module of antspyx."""
    name = "ants.lib"
    if name in sys.modules:
        return sys.modules[name]
    package = importlib.util.find_spec("ants")
    for place_ in (package.submodule_search_locations or []) if package else []:
        for suffix in EXTENSION_SUFFIXES:
            file = Path(place_, f"lib{suffix}")
            if file.is_file():
                return _load(name, file)
    raise PipelineError(
        "antspyx is not installed", action="pip install antspyx, or set registration.method: none"
    )


def _load(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # named as the package would name it, so that a later `import ants` takes this one
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
