"""Regions of interest as masks: the images they may be drawn on, and how several files are merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.named_planes import SlicePlanes
from pipeline.dicom.contours.rasterise import VoxelShares
from pipeline.dicom.header.geometry import axes_of
from pipeline.dicom.header.values import plane_name
from pipeline.dicom.series.index_file import Index, SeriesRow, find_chosen
from pipeline.errors import ContourError
from pipeline.volumes.nifti import read_grid
from pipeline.volumes.volume import FloatArray, Grid

Modality = Literal["ct", "pet"]
Mask = npt.NDArray[np.bool_]
VOLUMES: dict[Modality, str] = {"ct": "ct_hu.nii.gz", "pet": "pet_stored.nii.gz"}
SAME_MM = 0.05
"""Two grids are the same where no corner lies further apart than this."""
ON_SLICE = 0.1
"""A contour lies on a slice where it is no further from it than this share of the distance of slices."""
MASK_DIFFERENCE_PERCENT = 3.0
"""A mask whose volume differs by more from its contours', or its occupancies', is told of."""
LEFT_OUT = (
    "was drawn on images that are not in use and is left out (contours.other_image: place puts such "
    "contours where their coordinates say)"
)
"""Of a contour of another image, in words; the images in use never get one that was drawn elsewhere."""
UNNAMED_LEFT_OUT = (
    "names no image that it was drawn on and is left out, since others name an image in use; it may be of "
    "another image in the same frame of reference"
)
"""Of a contour that only its frame of reference places, beside ones that say what they were drawn on."""
BY_SERIES, BY_INSTANCES = "referenced series", "referenced instances"
"""How an ROI's image is known where the object names it."""


@dataclass(frozen=True)
class ImageSeries:
    """A converted image that contours may have been drawn on.

    Attributes:
        grid: Grid of the converted volume.
        series_uid: (0020,000E), empty for NIfTI.
        frame_uid: (0020,0052), empty for NIfTI.
        sop_uids: (0008,0018) of its instances, empty for NIfTI.
        unused_uids: (0008,0018) of the patient's instances that are of no image in use: other series, and what
            the index left out of this one.
        planes: Planes of its instances; None for NIfTI and multi-frame objects.
    """

    grid: Grid
    series_uid: str = ""
    frame_uid: str = ""
    sop_uids: frozenset[str] = frozenset()
    unused_uids: frozenset[str] = frozenset()
    planes: SlicePlanes | None = None


@dataclass(frozen=True)
class ContourFile:
    """An RTSTRUCT or DICOM SEG file.

    Attributes:
        path: The file.
        label: What messages call it; names of DICOM files often hold identifiers.
    """

    path: Path
    label: str


@dataclass(frozen=True)
class ImageMatch:
    """The image that an ROI was drawn on, and how that is known.

    Attributes:
        modality: The image.
        matched_by: The rule that assigned the ROI to it, in words.
        drawn_elsewhere: The ROI says that it was drawn on images that are not in use.
        by_frame: It names no image; only its frame of reference is that of the image.
        unknown_instances: It names instances that are nowhere among the patient's files, as after a removal of
            identifiers that renamed those of images alone; the series tells the image.
    """

    modality: Modality
    matched_by: str
    drawn_elsewhere: bool = False
    by_frame: bool = False
    unknown_instances: bool = False


@dataclass(frozen=True)
class RoiMask:
    """One ROI as a mask on one image's grid.

    Attributes:
        name: ROI name, segment label or file name.
        label: What messages and results call it.
        match: The image whose grid the mask has.
        mask: Boolean (z, y, x).
        source: `rtstruct`, `seg`, `mask_file`, or the method of the automatic segmentation.
        file_label: The file it came from, as messages call it.
        facts: Further values for `contours.json`.
        warnings: What the user should know.
        content_time: Date and time of the file's content as written; empty if it has none.
        shares: Shares of voxels that lie inside the contours, or that a SEG's occupancies fill, where the study
            asks for them.
        mask_class: Class of `contours.classes` that it belongs to; empty: the study has none.
    """

    name: str
    label: str
    match: ImageMatch
    mask: Mask
    source: str
    file_label: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    content_time: str = ""
    shares: VoxelShares | None = None
    mask_class: str = ""


@dataclass(frozen=True)
class FileRois:
    """What one or several contour files contain.

    Attributes:
        masks: Masks of the ROIs whose names match.
        names: What messages call all ROIs.
        unused: Why ROIs whose names match were not used.
    """

    masks: tuple[RoiMask, ...] = ()
    names: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @staticmethod
    def joined(files: Iterable[FileRois]) -> FileRois:
        """The contents of several files, in their order."""
        listed = list(files)
        return FileRois(
            tuple(mask for file in listed for mask in file.masks),
            tuple(name for file in listed for name in file.names),
            tuple(reason for file in listed for reason in file.unused),
        )


class NoContourError(ContourError):
    """There is no contour to use; where contours are not required this is no failure."""


def converted_images(convert: Path, index: Index | None) -> dict[Modality, ImageSeries]:
    """The patient's converted images, with the series they came from.

    Raises:
        ContourError: Neither a CT nor a PET was converted.
    """
    images: dict[Modality, ImageSeries] = {}
    unused = index.unused_sop_uids() if index is not None else frozenset()
    for modality, name in VOLUMES.items():
        path = convert / name
        if not path.is_file():
            continue
        row = find_chosen(index, modality) if index is not None else None
        if index is None or row is None:
            images[modality] = ImageSeries(read_grid(path))
        else:
            images[modality] = ImageSeries(
                read_grid(path),
                row.series_uid,
                row.frame_of_reference_uid,
                frozenset(index.sop_uids.get(row.series_uid, ())),
                unused,
                _planes_of(index, row),
            )
    if not images:
        raise ContourError("there is no converted image to draw on", where="stage convert")
    return images


def _planes_of(index: Index, row: SeriesRow) -> SlicePlanes | None:
    """Where the instances and frames of a series lie, as the index read it."""
    depths = index.depths_mm.get(row.series_uid)
    if depths is None:
        return None
    x, y, z = (float(value) for value in axes_of(row.geometry.orientation)[:, 2])
    by_name: dict[str, float] = {}
    for uid, own in zip(index.sop_uids[row.series_uid], depths, strict=True):
        by_name |= {plane_name(uid, number): depth for number, depth in enumerate(own, 1)}
        by_name |= {uid: own[0]} if len(own) == 1 else {}
    return SlicePlanes((x, y, z), row.geometry.spacing_mm[0], by_name)


def images_in_frame(images: Mapping[Modality, ImageSeries], frame_uids: frozenset[str]) -> list[Modality]:
    """Images in one of the frames of reference."""
    return [m for m, image in images.items() if image.frame_uid and image.frame_uid in frame_uids]


def share_on_slices(grid: Grid, contours: Sequence[FloatArray]) -> float:
    """Share of contours (n, 3; LPS mm) whose plane lies on one of the grid's slices."""
    hits = 0
    for contour in contours:
        height = grid.indices(contour)[:, 0]
        near = np.abs(height - np.round(height[0])).max() <= ON_SLICE
        hits += bool(near and -0.5 <= height[0] <= grid.shape[0] - 0.5)
    return hits / max(1, len(contours))


def union_mask(rois: Sequence[RoiMask]) -> Mask:
    """The voxels of any of the ROIs."""
    mask: Mask = np.logical_or.reduce([roi.mask for roi in rois])
    return mask


def union_shares(rois: Sequence[RoiMask]) -> npt.NDArray[np.float32]:
    """Shares of voxels that lie inside any of the ROIs: the largest of each voxel's, since ROIs may overlap.

    An ROI that was drawn neither as contours nor as occupancies has whole voxels.
    """
    shares = np.zeros(rois[0].mask.shape, dtype=np.float32)
    for roi in rois:
        if roi.shares is None:
            np.maximum(shares, roi.mask, out=shares)
        else:
            np.maximum(shares[roi.shares.box], roi.shares.values, out=shares[roi.shares.box])
    return shares


def mask_difference_percent(mask: Mask, grid: Grid, enclosed_ml: float) -> float | None:
    """By how much a mask's volume differs from what was drawn (mL), in percent; None where nothing was."""
    if enclosed_ml <= 0:
        return None
    return round(100.0 * (float(mask.sum()) * grid.voxel_ml() / enclosed_ml - 1.0), 2)


def dice(first: Mask, second: Mask) -> float:
    """Overlap 2|A∩B| / (|A| + |B|); 1 where both are empty."""
    size = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / size if size else 1.0
