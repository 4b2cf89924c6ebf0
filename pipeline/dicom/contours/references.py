"""What a contour object says of the images it was drawn on: series, instances of an ROI, instances of each contour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.dicom.contours.roi import BY_INSTANCES, BY_SERIES, ImageMatch, ImageSeries, Modality
from pipeline.volumes.volume import FloatArray


@dataclass(frozen=True)
class References:
    """What an object and one of its ROIs refer to.

    Attributes:
        series_uids: Series that the object names.
        sop_uids: Instances that the ROI's contours or the segments' frames name, (0008,1155).
        listed_uids: Instances that the object as a whole names, those of its other ROIs among them.
    """

    series_uids: frozenset[str]
    sop_uids: frozenset[str]
    listed_uids: frozenset[str] = frozenset()


def image_by_reference(images: Mapping[Modality, ImageSeries], references: References) -> ImageMatch | None:
    """The image that a contour object refers to: by the instances of one image in use, else by series.

    A series that was joined to another, or sent twice, is in use under the other's UID: its instances tell.
    """
    named = [
        m for m, image in images.items() if image.series_uid and image.series_uid in references.series_uids
    ]
    holding = [m for m, image in images.items() if references.sop_uids & image.sop_uids]
    if len(holding) == 1:
        return ImageMatch(holding[0], BY_SERIES if holding[0] in named else BY_INSTANCES)
    if len(named) == 1:
        unknown = bool(references.sop_uids and images[named[0]].sop_uids and not holding)
        return ImageMatch(named[0], BY_SERIES, unknown_instances=unknown)
    return None


def drawn_elsewhere(images: Mapping[Modality, ImageSeries], references: References) -> bool:
    """Whether a contour object refers to series or instances of which none is in use.

    Instances decide where they are known: those in use, and the patient's others, such as a second scan of the
    series in use. Instances that are nowhere among the patient's files are of another image where the object names
    other series than those in use, or where its other instances are in use; else the references are broken, and
    the series counts. A contour that names no instance belongs to the series.
    """
    in_use = frozenset[str]().union(*(image.sop_uids for image in images.values()))
    if references.sop_uids & in_use:
        return False
    if any(references.sop_uids & image.unused_uids for image in images.values()):
        return True
    series_uids = references.series_uids - {""}
    series_in_use = {image.series_uid for image in images.values() if image.series_uid}
    if series_uids and not series_uids & series_in_use:
        return bool(series_in_use)
    if not references.sop_uids:
        return False
    if series_uids and series_uids <= series_in_use:
        return bool(references.listed_uids & in_use)
    named = series_uids & series_in_use or series_in_use
    known = [image.sop_uids for image in images.values() if image.series_uid in named]
    return bool(known) and all(known)


def names_no_image(images: Mapping[Modality, ImageSeries], references: References) -> bool:
    """Whether a contour object says nothing of the image it was drawn on but its frame of reference."""
    return not references.series_uids - {""} and not any(
        references.sop_uids & image.sop_uids for image in images.values()
    )


def of_other_images(
    contours: Sequence[FloatArray],
    contour_uids: Sequence[frozenset[str]],
    modality: Modality,
    images: Mapping[Modality, ImageSeries],
) -> list[int]:
    """Contours of an ROI that name instances of other images only, while others name those of its image.

    Contours beyond the image's first or last slice stay: their slices may be missing at its ends, and the ROI is
    then told or refused as lying outside. Contours of the other image in use stay where it has the same
    frame of reference: their coordinates are right on both.

    Args:
        contours: Each (n, 3), LPS mm.
        contour_uids: Instances that each names.
        modality: The image that the ROI was assigned to.
        images: The images in use.

    Returns:
        Their numbers.
    """
    image = images[modality]
    if not any(uids & image.sop_uids for uids in contour_uids):
        return []
    right = frozenset[str]().union(
        *(other.sop_uids for other in images.values() if other is image or other.frame_uid == image.frame_uid)
    )
    foreign = [number for number, uids in enumerate(contour_uids) if uids and not uids & right]
    return [number for number in foreign if _within(contours[number], image)]


def _within(contour: FloatArray, image: ImageSeries) -> bool:
    """Whether a contour lies between the image's first and last slice."""
    height = float(np.mean(image.grid.indices(contour)[:, 0]))
    return -0.5 <= height <= image.grid.shape[0] - 0.5
