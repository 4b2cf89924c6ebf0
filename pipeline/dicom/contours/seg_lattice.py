"""Where the pixels of a DICOM SEG frame lie among the voxels of the image it was drawn on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.header.values import instance_of_plane, planes_named
from pipeline.errors import ContourError, GeometryError
from pipeline.volumes.volume import FloatArray, Grid

if TYPE_CHECKING:
    from pydicom import Dataset


OFF_VOXEL = 0.05
"""A pixel's centre may lie this far (in voxels) from the voxel's."""


@dataclass(frozen=True)
class SegFrame:
    """One frame's functional groups: its own, and those that all frames share.

    Attributes:
        own: Item of (5200,9230) Per-Frame Functional Groups Sequence.
        shared: Item of (5200,9229) Shared Functional Groups Sequence, if there is one.
        where: The file, for messages.
    """

    own: Dataset
    shared: Dataset | None
    where: str

    def item(self, name: str) -> Dataset | None:
        """First item of a functional group; the frame's own comes before the shared one."""
        for group in (self.own, self.shared):
            sequence = group.get(name) if group is not None else None
            if sequence:
                return sequence[0]  # type: ignore[no-any-return]
        return None

    def source_planes(self) -> frozenset[str]:
        """Instances or frames (`planes_named`) that the frame was derived from; empty if it names none."""
        item = self.item("DerivationImageSequence")
        return planes_named((item.get("SourceImageSequence") if item is not None else None) or ())

    def source_uids(self) -> frozenset[str]:
        """(0008,1155) of the images that the frame was derived from."""
        return frozenset(map(instance_of_plane, self.source_planes()))


def frames_of(dataset: Dataset, where: str) -> list[SegFrame]:
    """The frames of a SEG, in the order of its pixels."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [None]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    return [SegFrame(item, shared[0], where) for item in own]


def segment_of(frame: SegFrame) -> int:
    """(0062,000B) *Referenced Segment Number* of a frame.

    Raises:
        ContourError: It names none.
    """
    item = frame.item("SegmentIdentificationSequence")
    if item is None:
        raise ContourError(
            "a frame names no segment", where=f"{frame.where}, (0062,000A) Segment Identification Sequence"
        )
    return int(item.ReferencedSegmentNumber)


@dataclass(frozen=True)
class PixelLattice:
    """Where the pixels of a frame lie.

    Attributes:
        first: Centre of the first pixel (3,): x, y, z.
        steps: Steps from column to column and from row to row, (3, 2).
    """

    first: FloatArray
    steps: FloatArray


def lattice_mm(frame: SegFrame) -> PixelLattice:
    """A frame's pixels in LPS mm."""
    position = frame.item("PlanePositionSequence")
    orientation = frame.item("PlaneOrientationSequence")
    measures = frame.item("PixelMeasuresSequence")
    if position is None or orientation is None or measures is None:
        raise ContourError(
            "a frame lacks its position, orientation or pixel spacing",
            where=f"{frame.where}, (0020,9113), (0020,9116), (0028,9110)",
            action="export the SEG again",
        )
    cosines = np.array(orientation.ImageOrientationPatient, dtype=float).reshape(2, 3)
    row_mm, column_mm = (float(value) for value in measures.PixelSpacing)
    steps = np.stack([cosines[0] * column_mm, cosines[1] * row_mm], axis=1)
    return PixelLattice(np.array(position.ImagePositionPatient, dtype=float), steps)


def voxels_of(frame: SegFrame, grid: Grid) -> PixelLattice | None:
    """A frame's pixels as whole voxels (x, y, z) of a grid; None where they do not fall on voxels."""
    lattice = lattice_mm(frame)
    start = grid.indices(lattice.first)[0, ::-1]
    moves = np.linalg.solve(grid.affine()[:3, :3], lattice.steps)
    off = np.abs(moves - np.round(moves)).max() * max(grid.shape)
    unit = (np.abs(np.round(moves)).sum(axis=0) == 1).all()
    if not unit or off > 0.5 or np.abs(start - np.round(start)).max() > OFF_VOXEL:
        return None
    return PixelLattice(np.round(start), np.round(moves))


def off_grid(shape: tuple[int, ...], frame: SegFrame, grid: Grid) -> GeometryError:
    """What refuses a frame whose pixels do not fall on the voxels of the image."""
    lattice = lattice_mm(frame)
    row_mm, column_mm = np.linalg.norm(lattice.steps[:, 1]), np.linalg.norm(lattice.steps[:, 0])
    origin = ", ".join(f"{value:.2f}" for value in lattice.first)
    return GeometryError(
        "the pixels of a DICOM SEG do not fall on the voxels of its image",
        where=frame.where,
        expected=grid.describe(),
        got=f"{shape[0]}×{shape[1]} pixels (y,x) of {row_mm:.4g}×{column_mm:.4g} mm, "
        f"first at ({origin}) mm LPS",
        action="export the segmentation on the grid of the image it was drawn on",
    )
