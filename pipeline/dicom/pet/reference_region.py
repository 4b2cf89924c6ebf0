"""SUV in reference regions, which a wrong weight, dose or time shifts in every patient alike."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import SuvError
from pipeline.volumes.grids import index_map
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.volume import FloatArray, Grid, Volume

BODY_FROM = 0.15
"""Share of the body's own median above which a voxel counts as body: fat takes up a third to a half of
the median, scatter in air stays far below."""
_START_PERCENTILES, _START_FROM = (95.0, 99.0, 99.9), 0.02
_ROUNDS, _MANY_VOXELS = 8, 4_000_000


_BODY_HU = -400.0
"""Soft tissue, fat and bone are above, lung and air below."""
_LEAST_BODY_ML = 50.0
_SAMPLED_VOXELS = 1_000_000
_ALIGNED = ("same_frame", "accepted")


@dataclass(frozen=True)
class BodyReference:
    """SUV of the body, found on the CT or by its uptake.

    Attributes:
        rule: Which voxels count, in words.
        median: In the unit of the image; None without any such voxel.
        volume_ml: Volume of these voxels.
    """

    rule: str
    median: float | None
    volume_ml: float


@dataclass(frozen=True)
class RoiReference:
    """SUV in a reference region that was drawn.

    Attributes:
        rois: Names of its ROIs.
        mean: Mean SUV.
        sd: Standard deviation of SUV.
        voxels: Number of its voxels inside the PET.
    """

    rois: tuple[str, ...]
    mean: float
    sd: float
    voxels: int


def body_reference(volume: Volume) -> BodyReference:
    """Median SUV of the voxels that are body by their uptake relative to each other.

    It needs neither contour nor CT, and no SUV that is right: a wrong scale moves the median and
    leaves the voxels. In a whole-body FDG scan the mean over the body is 1 less what was excreted,
    the median somewhat lower; in an image of a part of the body it depends on the part.
    """
    values = volume.array
    sample = values[::2, ::2, ::2] if values.size > _MANY_VOXELS else values
    least = _body_threshold(sample)
    body = values > least if least is not None else np.zeros(values.shape, dtype=bool)
    count = int(body.sum())
    return BodyReference(
        rule=f"median of voxels above {BODY_FROM:g} of itself",
        median=float(np.median(values[body])) if count else None,
        volume_ml=round(count * volume.grid.voxel_ml(), 1),
    )


def body_on_ct(convert: Path, volume: Volume) -> BodyReference | None:
    """Median SUV of the voxels that are body on the CT, lungs left out: no uptake decides which they are.

    They are the largest connected part above -400 HU; a table that touches it adds a few voxels, which
    a median doesn't see. A large PET is looked at on every n-th voxel of each axis.

    Args:
        convert: Folder with `ct_hu.nii.gz`, and `pet.json`, which says whether the images lie on each other.
        volume: SUV image.

    Returns:
        None where there is no CT, PET and CT do not share a frame, or less than 50 mL of the PET are body.
    """
    ct_file = convert / "ct_hu.nii.gz"
    aligned = json.loads((convert / "pet.json").read_text(encoding="utf-8")).get("pet_to_ct") in _ALIGNED
    if not aligned or not ct_file.is_file():
        return None
    step = max(1, math.ceil((volume.array.size / _SAMPLED_VOXELS) ** (1 / 3)))
    hu = _at_pet_voxels(read_nifti(ct_file, "ct_hu"), volume.grid, step)
    body = _largest_part(hu > _BODY_HU)
    count_ml = float(body.sum()) * volume.grid.voxel_ml() * step**3
    if count_ml < _LEAST_BODY_ML:
        return None
    values = volume.array[::step, ::step, ::step][body]
    return BodyReference("median of the body on the CT", float(np.median(values)), round(count_ml, 1))


def _at_pet_voxels(ct: Volume, grid: Grid, step: int) -> FloatArray:
    """HU of the CT's nearest voxel at every n-th voxel of a grid; air outside the CT."""
    size = grid.shape
    first, second, third = np.meshgrid(*(np.arange(0, n, step) for n in size), indexing="ij", sparse=True)
    matrix = index_map(ct.grid, grid, np.eye(4))
    index, inside = [], np.ones(np.broadcast_shapes(first.shape, second.shape, third.shape), dtype=bool)
    for axis, count in enumerate(ct.grid.shape):
        a, b, c, d = matrix[axis]
        place = np.rint(a * first + b * second + c * third + d).astype(np.int64)
        inside &= (place >= 0) & (place < count)
        index.append(np.clip(place, 0, count - 1))
    return np.where(inside, ct.array[tuple(index)], -1024.0)


def _largest_part(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest connected part of a mask."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if not count:
        return np.zeros(mask.shape, dtype=bool)
    largest: npt.NDArray[np.bool_] = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return largest


def _body_threshold(values: npt.NDArray[Any]) -> float | None:
    """The value that is a fixed share of the median of all values above it, from above."""
    high = next((level for level in map(float, np.percentile(values, _START_PERCENTILES)) if level > 0), None)
    if high is None:
        return None
    least = _START_FROM * high
    for _ in range(_ROUNDS):
        following = BODY_FROM * float(np.median(values[values > least]))
        if abs(following - least) <= 1e-3 * least:
            break
        least = following
    return least


def roi_reference(suv: Path, rois: tuple[str, ...], mask: npt.NDArray[np.bool_], grid: Grid) -> RoiReference:
    """Mean SUV in a mask on any image's grid: the PET's nearest voxel at each voxel of the mask.

    Args:
        suv: Folder with the one `pet_suv*.nii.gz`.
        rois: Names of the ROIs that the mask contains.
        mask: Boolean (z, y, x).
        grid: Grid of the mask.

    Raises:
        SuvError: There is no SUV image, or the mask lies outside it.
    """
    files = sorted(suv.glob("pet_suv*.nii.gz"))
    if len(files) != 1:
        raise SuvError("there must be one SUV image", expected="pet_suv….nii.gz", got=f"{len(files)} files")
    pet = read_nifti(files[0], "pet_suvbw")
    index = np.rint(pet.grid.indices(grid.points(np.argwhere(mask)))).astype(int)
    inside = ((index >= 0) & (index < pet.grid.shape)).all(axis=1)
    values: FloatArray = pet.array[tuple(index[inside].T)].astype(np.float64)
    if not len(values):
        raise SuvError("the reference region lies outside the PET", where="contours.reference_roi")
    return RoiReference(
        rois, round(float(values.mean()), 4), round(float(values.std()), 4), voxels=len(values)
    )
