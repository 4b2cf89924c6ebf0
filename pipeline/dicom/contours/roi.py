"""Regions of interest as masks: the images they may be drawn on, and how several files are merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.rasterise import VoxelShares
from pipeline.dicom.series.index_file import Index, files_of, find_chosen
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
LEFT_OUT = (
    "was drawn on a series that is not in use and is left out (contours.other_image: place puts such "
    "contours where their coordinates say)"
)
"""Of a contour of another image, in words; the images in use never get one that was drawn elsewhere."""


@dataclass(frozen=True)
class ImageSeries:
    """A converted image that contours may have been drawn on.

    Attributes:
        grid: Grid of the converted volume.
        series_uid: (0020,000E), empty for NIfTI.
        frame_uid: (0020,0052), empty for NIfTI.
        files: Its DICOM files.
    """

    grid: Grid
    series_uid: str = ""
    frame_uid: str = ""
    files: tuple[Path, ...] = ()


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
        drawn_elsewhere: The ROI says that it was drawn on a series that is not in use.
    """

    modality: Modality
    matched_by: str
    drawn_elsewhere: bool = False


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
        shares: Shares of voxels that lie inside the contours, where the study asks for them.
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
    for modality, name in VOLUMES.items():
        path = convert / name
        if not path.is_file():
            continue
        row = find_chosen(index, modality) if index is not None else None
        if index is None or row is None:
            images[modality] = ImageSeries(read_grid(path))
        else:
            images[modality] = ImageSeries(
                read_grid(path), row.series_uid, row.frame_of_reference_uid, files_of(index, row)
            )
    if not images:
        raise ContourError("there is no converted image to draw on", where="stage convert")
    return images


def image_by_reference(
    images: Mapping[Modality, ImageSeries], series_uids: frozenset[str], sop_uids: frozenset[str]
) -> Modality | None:
    """The image that a contour object refers to: by series, or by instances if it names both series."""
    named = [m for m, image in images.items() if image.series_uid and image.series_uid in series_uids]
    if len(named) == 1:
        return named[0]
    if len(named) > 1 and sop_uids:
        counts = {modality: len(sop_uids & _sop_uids(images[modality])) for modality in named}
        best = max(counts, key=lambda modality: counts[modality])
        if counts[best] and sum(counts.values()) == counts[best]:
            return best
    return None


def drawn_elsewhere(
    images: Mapping[Modality, ImageSeries], series_uids: frozenset[str], sop_uids: frozenset[str]
) -> bool:
    """Whether a contour object refers to series of which none is in use.

    Where it names series in use beside others, the instances that its contours refer to decide; a
    contour that names none belongs to the series in use.
    """
    in_use = {image.series_uid for image in images.values() if image.series_uid}
    if not series_uids & in_use:
        return bool(series_uids and in_use)
    if series_uids <= in_use or not sop_uids:
        return False
    known = [_sop_uids(image) for image in images.values() if image.series_uid in series_uids]
    return all(known) and not any(sop_uids & instances for instances in known)


def _sop_uids(image: ImageSeries) -> frozenset[str]:
    """(0008,0018) of an image's files; read only where the series do not decide."""
    from pydicom import dcmread

    return frozenset(
        str(dcmread(path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
        for path in image.files
    )


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

    An ROI that was not drawn as contours has whole voxels.
    """
    shares = np.zeros(rois[0].mask.shape, dtype=np.float32)
    for roi in rois:
        if roi.shares is None:
            np.maximum(shares, roi.mask, out=shares)
        else:
            np.maximum(shares[roi.shares.box], roi.shares.values, out=shares[roi.shares.box])
    return shares


def dice(first: Mask, second: Mask) -> float:
    """Overlap 2|A∩B| / (|A| + |B|); 1 where both are empty."""
    size = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / size if size else 1.0
