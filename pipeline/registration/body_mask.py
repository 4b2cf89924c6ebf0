"""Images prepared for registration: coarse, clipped, and the body separated from the couch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import RegistrationError
from pipeline.volumes.nifti import read_nifti, set_geometry
from pipeline.volumes.resample import coarsen
from pipeline.volumes.volume import FloatArray, Grid, Volume

Modality = Literal["ct", "pet"]

AIR_HU = -1000.0
BODY_HU = -400.0
BODY_UPTAKE = 0.25
"""Of the scaled PET."""
HIGHEST_HU = 1000.0
OPENING_MM = 8.0
MIN_BODY_ML = 200.0


@dataclass(frozen=True)
class BodyImage:
    """An image of a body, prepared for registration.

    Attributes:
        image: (z, y, x) float32; voxels outside the body are air (CT: HU clipped to
            [-1000, 1000]; PET: square root of uptake over its 99.5th percentile).
        mask: (z, y, x) bool, the body with its cavities.
        grid: Grid of image and mask.
    """

    image: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    grid: Grid

    def centre_mm(self) -> FloatArray:
        """Centre of the body's mask (LPS x, y, z)."""
        return np.asarray(self.grid.points(np.argwhere(self.mask).mean(axis=0))[0], dtype=np.float64)

    def top_mm(self) -> float:
        """Superior end of the body (LPS z)."""
        return float(self.grid.points(np.argwhere(self.mask))[:, 2].max())


@dataclass(frozen=True)
class BodyPair:
    """Two bodies that are aligned.

    Attributes:
        fixed: The template.
        moving: The patient.
    """

    fixed: BodyImage
    moving: BodyImage


def coarse_volume(path: Path, modality: Modality, working_mm: float) -> Volume:
    """Read an image and average it down to the working grid.

    Args:
        path: NIfTI; CT in HU, or PET in any unit proportional to activity.
        modality: `ct` or `pet`.
        working_mm: Edge of the cubic voxels.
    """
    quantity: Literal["ct_hu", "pet_stored"] = "ct_hu" if modality == "ct" else "pet_stored"
    volume = read_nifti(path, quantity)
    if modality == "ct":
        return coarsen(volume, working_mm, AIR_HU, AIR_HU)
    return coarsen(volume, working_mm, 0.0, 0.0)


def make_body(volume: Volume, modality: Modality, where: str) -> BodyImage:
    """Segment the body in a coarse image and replace everything else with air.

    The thresholded image is opened by 8 mm, which separates the body from couch, blanket and
    head rest. The body is the largest component, with its cavities filled.

    Raises:
        RegistrationError: No body of at least 0.2 L is found.
    """
    image = _scaled(volume.array, modality)
    threshold = BODY_HU if modality == "ct" else BODY_UPTAKE
    mask = _largest_component(image > threshold, volume.grid)
    if mask.sum() * volume.grid.voxel_ml() < MIN_BODY_ML:
        raise RegistrationError(
            "no body was found in the image that is registered",
            where=where,
            expected=f"at least {MIN_BODY_ML:.0f} mL of tissue",
            got=f"{mask.sum() * volume.grid.voxel_ml():.0f} mL",
            action="check the image's values, or set registration.method: none",
        )
    air = AIR_HU if modality == "ct" else 0.0
    body = np.where(_dilated(mask), image, np.float32(air)).astype(np.float32)
    return BodyImage(body, mask, volume.grid)


def _scaled(array: npt.NDArray[np.float32], modality: Modality) -> npt.NDArray[np.float32]:
    if modality == "ct":
        return np.clip(array, AIR_HU, HIGHEST_HU)
    high = float(np.percentile(array, 99.5)) or 1.0
    return np.sqrt(np.clip(array / high, 0.0, 1.5)).astype(np.float32)


def _largest_component(mask: npt.NDArray[np.bool_], grid: Grid) -> npt.NDArray[np.bool_]:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    set_geometry(image, grid)
    radius = [max(1, round(OPENING_MM / s)) for s in grid.spacing_mm[::-1]]
    # Padded by its own border: a body that leaves the field of view must not be eroded there.
    padded = sitk.ZeroFluxNeumannPad(image, radius, radius)
    opened = sitk.BinaryMorphologicalOpening(padded, radius)
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(opened))
    body = sitk.GetArrayFromImage(sitk.BinaryFillhole(labels == 1)).astype(bool)
    x, y, z = radius
    return np.asarray(
        body[z : body.shape[0] - z, y : body.shape[1] - y, x : body.shape[2] - x], dtype=np.bool_
    )


def _dilated(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask one voxel wider, so that the edge of the skin stays in the image."""
    wide = mask.copy()
    for axis in range(3):
        ahead: list[slice] = [slice(None)] * 3
        behind: list[slice] = [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        wide[tuple(ahead)] |= mask[tuple(behind)]
        wide[tuple(behind)] |= mask[tuple(ahead)]
    return wide
