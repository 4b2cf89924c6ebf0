"""Attributes of a stored crop, and how they are converted to JSON and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.tables.status import Status
from pipeline.volumes.transform import transform_points
from pipeline.volumes.volume import FloatArray, Grid

Contour = Literal["manual", "drawn", "none"]
Rows = tuple[tuple[float, ...], ...]
IDENTITY: Rows = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
UNTURNED: Rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class CropAttributes:
    """Where a crop lies and what it holds.

    Attributes:
        patient_id: The patient.
        channels: Names of the image's channels, in order.
        units: Unit of each channel.
        quantities: Quantity in each channel, e.g. `pet_suvbw`, `ct_hu`.
        spacing_mm: Voxel (z, y, x).
        origin_mm: Centre of voxel (0, 0, 0) of the stored grid, margin included (LPS x, y, z),
            in the space the crop was placed in.
        direction: 3×3, columns are the unit vectors (LPS) of the x, y and z axes.
        transform: 4×4 from the space the crop was placed in (template or patient) to the
            patient's scanner coordinates (LPS mm).
        pet_transform: The same to the coordinates of a PET that has a frame of reference of its
            own and was registered; None: the PET shares the scanner coordinates.
        margin: Voxels stored beyond the crop on each side.
        position: How the crop was placed (`fixed`, `lesion`, `box`, `brain_anchored`, `whole`).
        contour: Whether the contour was drawn by hand, by the software, or is missing.
        mask_from: Image the contour was drawn on (`ct`, `pet`), or empty.
        lesion_coverage: Share of the contour's volume inside the crop without its margin;
            None without a contour.
        lesion_ml: Volume of the contour on its native grid (mL); None without a contour.
        classes: Names of the classes that the mask tells apart, in the order of their labels 1, 2, …;
            empty: 1 is the lesion.
        notes: Warnings about the placement of the crop.
        checksums: SHA-256 of each array's bytes (little-endian, C order), which identifies the crop.
        crc32: CRC-32 of the same bytes, three times as fast, checked whenever the array is read.
    """

    patient_id: str
    channels: tuple[str, ...]
    units: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: Rows = UNTURNED
    transform: Rows = IDENTITY
    pet_transform: Rows | None = None
    margin: int = 0
    position: str = "whole"
    contour: Contour = "none"
    mask_from: str = ""
    quantities: tuple[str, ...] = ()
    lesion_coverage: float | None = None
    lesion_ml: float | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    checksums: dict[str, str] = field(default_factory=dict)
    crc32: dict[str, int] = field(default_factory=dict)

    def grid(self, shape: tuple[int, ...]) -> Grid:
        """Grid of the stored arrays (in the space the crop was placed in).

        Args:
            shape: (z, y, x) of the stored arrays.
        """
        rows = tuple((float(a), float(b), float(c)) for a, b, c in self.direction)
        return Grid((shape[-3], shape[-2], shape[-1]), self.spacing_mm, self.origin_mm, rows)

    def scanner_points(self, index_zyx: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        """Scanner coordinates (n, 3; LPS x, y, z; mm) of stored voxels (n, 3; z, y, x)."""
        matrix = np.asarray(self.transform, dtype=float)
        return transform_points(matrix, self.grid(shape).points(index_zyx))

    def to_json(self) -> dict[str, Any]:
        """Plain values for the store's attributes; without `classes` where the mask tells none apart."""
        values = asdict(self)
        return values if self.classes else {key: value for key, value in values.items() if key != "classes"}


def from_json(values: dict[str, Any]) -> CropAttributes:
    """Attributes from what :meth:`CropAttributes.to_json` gave.

    Raises:
        TypeError, KeyError: A field is missing or unknown.
    """
    fixed: dict[str, Any] = {
        key: _frozen(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return CropAttributes(**fixed)


def status_json(status: Status) -> dict[str, str]:
    """A status as the store's attribute `status`."""
    return asdict(status)


def _frozen(value: list[Any]) -> tuple[Any, ...]:
    return tuple(_frozen(v) if isinstance(v, list) else v for v in value)
