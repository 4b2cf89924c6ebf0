"""Which image the frames of a DICOM SEG were drawn on."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.contours.named_planes import plane_warnings
from pipeline.dicom.contours.references import (
    References,
    drawn_elsewhere,
    image_by_reference,
    names_no_image,
)
from pipeline.dicom.contours.roi import ImageMatch, ImageSeries, Modality, images_in_frame
from pipeline.dicom.contours.seg_lattice import SegFrame, frames_of, lattice_mm, segment_of, voxels_of
from pipeline.errors import ContourError

if TYPE_CHECKING:
    from pydicom import Dataset


def frames_of_segments(dataset: Dataset, segments: Container[int], where: str) -> list[SegFrame]:
    """The frames that hold some segments; of a label map all."""
    frames = frames_of(dataset, where)
    if dataset.get("SegmentationType") == "LABELMAP":
        return frames
    return [frame for frame in frames if segment_of(frame) in segments]


def named_planes(frames: Sequence[SegFrame], images: Mapping[Modality, ImageSeries], where: str) -> list[str]:
    """Hold the frames' planes against those of their source images; see :func:`plane_warnings`."""
    naming = [frame for frame in frames if frame.source_planes()]
    return plane_warnings(
        np.array([lattice_mm(frame).first for frame in naming]),
        [frame.source_planes() for frame in naming],
        (image.planes for image in images.values()),
        "a segmentation",
        f"{where}, (0020,0032) Image Position (Patient), (0008,2112) Source Image Sequence",
    )


def require_one_image(sources: Sequence[frozenset[str]], image: ImageSeries, where: str) -> None:
    """Refuse a SEG of which some frames were drawn on the image in use, and others on images that are not."""
    own = sum(bool(uids & image.sop_uids) for uids in sources)
    other = sum(bool(uids & image.unused_uids and not uids & image.sop_uids) for uids in sources)
    if own and other:
        raise ContourError(
            "the frames of a DICOM SEG were drawn on several images",
            where=f"{where}, (0008,9124) Derivation Image Sequence",
            expected="frames of the image in use",
            got=f"{own} of it and {other} of images that are not in use",
            action="export the segmentation of each image by itself",
        )


def image_of(
    dataset: Dataset, sources: Sequence[frozenset[str]], images: Mapping[Modality, ImageSeries]
) -> ImageMatch | None:
    """The image a SEG belongs to: by instances, then series, then frame and grid.

    Of instances those that its frames were derived from count, if they name any; else those that it lists.
    """
    series: set[str] = set()
    sops: set[str] = set()
    for item in dataset.get("ReferencedSeriesSequence") or ():
        series.add(str(item.get("SeriesInstanceUID", "")))
        for instance in item.get("ReferencedInstanceSequence") or ():
            sops.add(str(instance.get("ReferencedSOPInstanceUID", "")))
    listed, derived_from = frozenset(sops - {""}), frozenset[str]().union(*sources)
    references = References(frozenset(series), derived_from or listed, listed)
    elsewhere = drawn_elsewhere(images, references)
    match = image_by_reference(images, references)
    if match is not None and not elsewhere:
        return match
    candidates = images_in_frame(images, frozenset({str(dataset.get("FrameOfReferenceUID", ""))}))
    frames, by_frame = frames_of(dataset, ""), names_no_image(images, references)
    for candidate in candidates:
        if frames and voxels_of(frames[0], images[candidate].grid) is not None:
            return ImageMatch(candidate, "frame of reference and voxels", elsewhere, by_frame)
    if not candidates:
        return None
    return ImageMatch(candidates[0], "frame of reference", elsewhere, by_frame)
