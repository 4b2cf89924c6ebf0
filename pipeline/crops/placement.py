"""Where a patient's crop lies: at a fixed position, at the lesion, in a given box, or below the brain."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.crops.lesion import Lesion
from pipeline.errors import CropError, SettingsError
from pipeline.settings.geometry import CropSettings
from pipeline.volumes.resample import coarsen
from pipeline.volumes.volume import FloatArray, Grid, Volume

BOX_COLUMNS = ("patient_id", "x1", "x2", "y1", "y2", "z1", "z2")
# The rule of the HECKTOR challenge: the box begins 30 mm above the brain's lowest voxel and lies
# 30 mm anterior to the brain's centre (Andrearczyk et al. 2020, Oropharynx Detection in PET-CT).
ABOVE_MM = BEFORE_MM = 30.0
SMOOTHING_MM = 10.0
UPTAKE_MM = 4.0


@dataclass(frozen=True)
class Placement:
    """Where a crop lies.

    Attributes:
        grid: The crop without its margin.
        to_patient: 4×4 from the grid's space (template or patient) to scanner coordinates.
        notes: Warnings about the placement.
    """

    grid: Grid
    to_patient: FloatArray
    notes: tuple[str, ...] = ()

    def stored_grid(self, margin: int) -> Grid:
        """The grid with a margin of `margin` voxels on each side."""
        z, y, x = (n + 2 * margin for n in self.grid.shape)
        a, b, c = (float(v) for v in self.grid.points([-margin] * 3)[0])
        return Grid((z, y, x), self.grid.spacing_mm, (a, b, c), self.grid.direction)


def around(centre_mm: npt.ArrayLike, settings: CropSettings) -> Grid:
    """The crop's grid around a point (LPS x, y, z), its axes along the coordinate axes."""
    half = [(n - 1) / 2 * s for n, s in zip(settings.shape, settings.spacing_mm, strict=True)]
    x, y, z = (float(v) for v in np.asarray(centre_mm, dtype=float) - half[::-1])
    return Grid(settings.shape, settings.spacing_mm, (x, y, z))


def at_lesion(lesion: Lesion | None, settings: CropSettings) -> Placement:
    """The crop around the lesion's centroid, in scanner coordinates.

    Raises:
        CropError: There is no contour.
    """
    if lesion is None:
        raise CropError(
            "a crop around the lesion needs a contour",
            where="crop.position: lesion",
            got="no contour",
            action="add the contour, set contours.auto_segment, or use crop.position: brain_anchored, fixed or box",
        )
    return Placement(around(lesion.centroid_mm(), settings), np.eye(4))


def at_box(patient_id: str, settings: CropSettings) -> Placement:
    """The crop around the centre of the patient's box, in scanner coordinates.

    Raises:
        SettingsError: The table lacks columns or holds a value that is not a number.
        CropError: The patient has no row, or more than one.
    """
    rows = [row for row in read_boxes(Path(settings.boxes)) if row["patient_id"] == patient_id]
    if len(rows) != 1:
        raise CropError(
            "the table of boxes must have one row per patient",
            where=f"{settings.boxes}, patient_id {patient_id}",
            expected="1 row",
            got=f"{len(rows)} rows",
            action="correct the table",
        )
    low, high = _corners(rows[0], settings.boxes)
    grid = around((low + high) / 2, settings)
    extent = np.array([n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True)])[::-1]
    notes: tuple[str, ...] = ()
    if np.any(np.abs(high - low - extent) > 2 * np.asarray(grid.spacing_mm)[::-1]):
        size = "×".join(f"{v:g}" for v in (high - low)[::-1])
        notes = (
            f"the box measures {size} mm (z, y, x), the crop "
            f"{'×'.join(f'{v:g}' for v in extent[::-1])} mm; both share their centre",
        )
    return Placement(grid, np.eye(4), notes)


def below_brain(pet: Volume, settings: CropSettings) -> Placement:
    """The crop below the brain, located in the PET alone, in the coordinates of the PET.

    The rule of the HECKTOR challenge: after Gaussian smoothing, the largest region above the
    threshold (SUV 3 g/mL) that reaches the upper third of the image is the brain. The upper
    edge of the crop lies 30 mm above the brain's lowest voxel, its centre 30 mm anterior to
    the brain's, and it is shifted where it would leave the image at the bottom.

    Args:
        pet: SUVbw (g/mL).
        settings: The study's section.

    Raises:
        CropError: There is no such region.
    """
    points = _brain_points(pet, settings.uptake_threshold_gml)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = np.array([n * s for n, s in zip(settings.shape, settings.spacing_mm, strict=True)])[::-1]
    centre = (low + high) / 2
    centre[1] -= BEFORE_MM
    centre[2] = low[2] + ABOVE_MM - extent[2] / 2
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in pet.grid.shape])).reshape(3, -1).T
    bottom = float(pet.grid.points(corners)[:, 2].min())
    note = "placed below the brain by its uptake"
    if centre[2] - extent[2] / 2 < bottom:
        centre[2] = bottom + extent[2] / 2
        note += "; raised to stay inside the image"
    return Placement(around(centre, settings), np.eye(4), (note,))


def in_template(centre_mm: FloatArray, to_patient: FloatArray, settings: CropSettings) -> Placement:
    """The crop at a position in template space.

    Args:
        centre_mm: LPS point (x, y, z) in template space.
        to_patient: 4×4 of the patient's registration, template points to patient points.
        settings: The study's section.
    """
    return Placement(around(centre_mm, settings), to_patient)


def read_boxes(path: Path) -> list[dict[str, str]]:
    """Rows of the table of boxes, as texts.

    Raises:
        SettingsError: There is no such file, or it lacks columns.
    """
    if not path.is_file():
        raise SettingsError(
            "the table of boxes does not exist",
            where="crop.boxes",
            expected=f"a CSV with the columns {', '.join(BOX_COLUMNS)} (LPS mm)",
            got=str(path),
            action="correct the path",
        )
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in BOX_COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise SettingsError(
                "the table of boxes lacks columns",
                where=str(path),
                expected=", ".join(BOX_COLUMNS),
                got=", ".join(reader.fieldnames or []),
                action="add these columns, or rename the table's",
            )
        return list(reader)


def _corners(row: dict[str, str], where: str) -> tuple[FloatArray, FloatArray]:
    try:
        low = np.array([float(row[f"{axis}1"]) for axis in "xyz"])
        high = np.array([float(row[f"{axis}2"]) for axis in "xyz"])
    except ValueError as error:
        raise SettingsError(
            "the table of boxes holds a value that is not a number",
            where=f"{where}, {row['patient_id']}",
            got=str(error),
            action="correct this row",
        ) from None
    if not np.all(np.isfinite(low) & np.isfinite(high) & (high > low)):
        raise CropError(
            "the second corner of a box must lie beyond its first corner",
            where=f"{where}, {row['patient_id']}",
            got=f"from {low} to {high}",
            action="correct this row: x1 below x2, y1 below y2, z1 below z2 (LPS mm)",
        )
    return low, high


def _brain_points(pet: Volume, threshold: float) -> FloatArray:
    import SimpleITK as sitk

    from pipeline.volumes.nifti import to_itk

    coarse = coarsen(pet, UPTAKE_MM, 0.0)
    smooth = sitk.DiscreteGaussian(
        to_itk(coarse), [(SMOOTHING_MM / UPTAKE_MM) ** 2] * 3, 32, [0.01] * 3, False
    )
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(smooth > threshold))
    if not labels.any():
        raise _no_brain(threshold)
    index = np.argwhere(labels > 0)
    region = labels[tuple(index.T)]
    points = coarse.grid.points(index)
    ends = coarse.grid.points(np.array(np.meshgrid(*[(0, n - 1) for n in labels.shape])).reshape(3, -1).T)[
        :, 2
    ]
    top_third = points[:, 2] > ends.min() + (ends.max() - ends.min()) * 2 / 3
    if not top_third.any():
        raise _no_brain(threshold)
    brain = int(np.bincount(region[top_third]).argmax())
    return np.asarray(points[region == brain], dtype=np.float64)


def _no_brain(threshold: float) -> CropError:
    return CropError(
        "no brain was found in the PET, below which the crop could be placed",
        where="crop.position: brain_anchored",
        expected=f"uptake above {threshold:g} g/mL in the upper third of the image",
        got="none",
        action="check that the head is in the image, lower crop.uptake_threshold_gml, or use another "
        "crop.position",
    )
