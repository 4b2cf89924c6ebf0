"""A mask as DICOM SEG on the image it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline import __version__
from pipeline.errors import GeometryError
from pipeline.volumes.volume import Grid, Volume

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "Modality", "ImageType", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
)  # fmt: skip
"""All that is read of the images: what is not read cannot be passed on."""
IDENTITY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber",
    "ReferringPhysicianName", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
"""What an archive files an object by: required, and empty unless it is asked for (type 2, PS3.3 C.7)."""
OFF_VOXEL = 0.05
TUMOUR = "Tumour (predicted)"


def write_segmentation(
    mask: Volume,
    files: Sequence[Path],
    out: Path,
    *,
    labels: Sequence[str] = (TUMOUR,),
    identity: bool = False,
) -> None:
    """Write a binary DICOM SEG (PS3.3 A.51) with a segment for each label of a mask, made by software.

    It refers to the image's instances and frame of reference. Name, number, dates and the like
    of patient and study are left empty unless `identity` asks for them: only an archive that is
    to file the object needs them.

    Args:
        mask: uint8 (z, y, x), labels from 1, with at least one voxel; on the grid of the converted image.
        files: The image's DICOM files, one per slice.
        out: File.
        labels: (0062,0005) *Segment Label* of 1, 2, …; one that no voxel has is a segment without frames.
        identity: Copy the attributes that identify patient and study.

    Raises:
        GeometryError: The mask is empty, or the files' pixels are not the grid's voxels.
    """
    from highdicom.seg import Segmentation
    from highdicom.uid import UID
    from pydicom import dcmread

    if not mask.array.any():
        raise GeometryError("an empty mask makes no DICOM SEG")
    tags = [*NEEDED, *(IDENTITY if identity else ())]
    images = [dcmread(path, force=True, specific_tags=list(tags)) for path in files]
    for image in images:
        for name in IDENTITY:
            if name not in image:
                setattr(image, name, "")
    pixels = np.stack([_slice_of(mask.array, mask.grid, image) for image in images])
    segmentation = Segmentation(
        source_images=images,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[_description(number, label) for number, label in enumerate(labels, start=1)],
        series_instance_uid=UID(),
        series_number=900,
        sop_instance_uid=UID(),
        instance_number=1,
        manufacturer="SUVival",
        manufacturer_model_name="SUVival",
        software_versions=__version__,
        device_serial_number="0",
        series_description="Predicted tumour; research software",
    )
    if "ContributingEquipmentSequence" in segmentation:
        del segmentation.ContributingEquipmentSequence  # the scanner, of which nothing was read
    segmentation.save_as(out)


def _description(number: int, label: str) -> SegmentDescription:
    """A segment: a neoplasm, found by this software."""
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr.coding import CodedConcept

    algorithm = AlgorithmIdentificationSequence(
        name="SUVival",
        version=__version__,
        family=CodedConcept("123109", "DCM", "Artificial Intelligence"),
    )
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure"),
        segmented_property_type=CodedConcept("108369006", "SCT", "Neoplasm"),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )


def _slice_of(mask: npt.NDArray[np.uint8], grid: Grid, image: Dataset) -> npt.NDArray[np.uint8]:
    """The mask in the rows and columns of one image file."""
    cosines = np.array(image.ImageOrientationPatient, dtype=float).reshape(2, 3)
    row_mm, column_mm = (float(v) for v in image.PixelSpacing)
    first = np.array(image.ImagePositionPatient, dtype=float)
    ends = first + np.stack(
        [np.zeros(3), cosines[0] * column_mm * (image.Columns - 1), cosines[1] * row_mm * (image.Rows - 1)]
    )
    index = grid.indices(ends)
    whole = np.round(index).astype(int)
    inside = (whole >= 0).all() and (whole < np.array(grid.shape)).all()
    if np.abs(index - whole).max() > OFF_VOXEL * 4 or not inside:
        raise GeometryError(
            "the image's pixels are not the mask's voxels",
            where="(0020,0032) Image Position (Patient)",
            expected=grid.describe(),
            got=f"a corner at index {np.round(index[0], 2).tolist()} (z, y, x)",
        )
    across = np.linspace(whole[0], whole[1], image.Columns).round().astype(int)
    down = np.linspace(whole[0], whole[2], image.Rows).round().astype(int)
    place = across[None, :, :] + down[:, None, :] - whole[0]
    pixels: npt.NDArray[np.uint8] = mask[tuple(np.moveaxis(place, -1, 0))].astype(np.uint8)
    return pixels
