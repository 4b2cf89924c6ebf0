"""A patient's lesion: which contour is taken, where it lies, and how much of it a crop holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.errors import CropError
from pipeline.store.attributes import Contour
from pipeline.volumes.grids import bounding_box
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.transform import inverse, transform_points
from pipeline.volumes.volume import FloatArray, Grid, Volume

MaskFrom = Literal["ct", "pet"]


@dataclass(frozen=True)
class Lesion:
    """A contour on the grid it was drawn on.

    Attributes:
        mask: uint8 volume (z, y, x): 1, 2, … the study's classes, or 1 the lesion.
        points: LPS points (n, 3) of the centres of its voxels (mm, scanner coordinates).
        drawn_on: `ct` or `pet`.
        contour: `manual` or `drawn`.
        to_own: 4×4 from scanner coordinates to those of the image it was drawn on: the identity,
            unless this is a PET of another frame of reference.
        classes: Names of the study's classes in the order of their labels; empty: it has none.
    """

    mask: Volume
    points: FloatArray
    drawn_on: MaskFrom
    contour: Contour
    to_own: FloatArray
    classes: tuple[str, ...] = ()

    def centroid_mm(self) -> FloatArray:
        """Centroid (LPS x, y, z; mm)."""
        return np.asarray(self.points.mean(axis=0), dtype=np.float64)

    def volume_ml(self) -> float:
        """Volume (mL)."""
        return len(self.points) * self.mask.grid.voxel_ml()


def read_lesion(contours: Path, mask_from: MaskFrom, to_pet: FloatArray | None = None) -> Lesion | None:
    """The contour drawn on the preferred image, or on the other image where only that exists.

    Args:
        contours: Folder of `contours`.
        mask_from: The image whose contour is preferred.
        to_pet: 4×4 from scanner points to PET points; None: they are the same.

    Returns:
        The lesion; None where the patient has no contour.

    Raises:
        CropError: The contour is empty.
    """
    others: dict[MaskFrom, MaskFrom] = {"ct": "pet", "pet": "ct"}
    for kind in (mask_from, others[mask_from]):
        path = contours / f"gtv_{kind}.nii.gz"
        if path.is_file():
            own = to_pet if kind == "pet" and to_pet is not None else np.eye(4)
            return _lesion(read_nifti(path, "mask"), kind, contours, own)
    return None


@dataclass(frozen=True)
class Coverage:
    """Shares of a lesion that a grid holds, 0 to 1.

    Attributes:
        lesion: Of the whole lesion.
        classes: Of each class that the patient has, by name.
    """

    lesion: float
    classes: dict[str, float]

    def shares(self) -> list[tuple[float, str]]:
        """Each share with what it is of, in words; the lesion first."""
        return [(self.lesion, "the lesion"), *((share, name) for name, share in self.classes.items())]


def coverage(lesion: Lesion, grid: Grid, to_patient: FloatArray) -> Coverage:
    """Shares of a lesion's voxel centres, and of each class's, that lie within a grid's outer edges.

    Args:
        lesion: The lesion.
        grid: The crop without its margin, in the space it was placed in.
        to_patient: 4×4 from that space to scanner coordinates.
    """
    index = grid.indices(transform_points(inverse(to_patient), lesion.points))
    inside = np.all((index >= -0.5) & (index <= np.asarray(grid.shape) - 0.5), axis=1)
    labels = lesion.mask.array[lesion.mask.array > 0]
    of_classes = {
        name: round(float(inside[labels == label].mean()), 6)
        for label, name in enumerate(lesion.classes, start=1)
        if (labels == label).any()
    }
    return Coverage(round(float(inside.mean()), 6), of_classes)


def _lesion(mask: Volume, kind: MaskFrom, contours: Path, to_own: FloatArray) -> Lesion:
    box = bounding_box(mask.array)
    if box is None:
        raise CropError("a contour is empty", where=f"gtv_{kind}.nii.gz")
    index = np.argwhere(mask.array[box] > 0) + [s.start for s in box]
    facts = json.loads((contours / "contours.json").read_text(encoding="utf-8"))
    contour: Contour = "drawn" if facts.get("contour") == "drawn" else "manual"
    points = transform_points(inverse(to_own), mask.grid.points(index))
    classes = facts.get("masks", {}).get(kind, {}).get("classes", [])
    return Lesion(mask, points, kind, contour, to_own, tuple(entry["name"] for entry in classes))
