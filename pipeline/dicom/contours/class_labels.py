"""ROIs of one image as a label volume: 1, 2, … the study's classes, or 1 the lesion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.dicom.contours.roi import Modality, RoiMask, union_mask
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.volume import Grid

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LabelMask:
    """The mask of one image.

    Attributes:
        rois: The ROIs it is made of.
        labels: (z, y, x) uint8: 0 background, 1, 2, … the classes in their order; without classes 1.
        warnings: What the user should know of voxels that several classes hold.
    """

    rois: Sequence[RoiMask]
    labels: Labels
    warnings: tuple[str, ...] = ()


def label_mask(rois: Sequence[RoiMask], settings: ContourSettings, grid: Grid) -> LabelMask:
    """The label volume of an image's ROIs.

    Args:
        rois: All ROIs of one image, marked with their classes where the study has classes.
        settings: The classes, and what is done where they overlap.
        grid: Grid of the image.

    Raises:
        ContourError: Classes overlap and `class_overlap` is `refuse`; or nothing is left of a class.
    """
    if not settings.classes:
        return LabelMask(rois, union_mask(rois).astype(np.uint8))
    labels = np.zeros(rois[0].mask.shape, dtype=np.uint8)
    warnings = []
    for label, name in enumerate(settings.class_names(), start=1):
        of_class = [roi for roi in rois if roi.mask_class == name]
        if not of_class:
            continue
        mask = union_mask(of_class)
        taken = int((mask & (labels > 0)).sum())
        if taken:
            warnings.append(_overlap(name, mask, labels, settings, grid))
        mask &= labels == 0
        labels[mask] = label
        if taken and not mask.any():
            raise ContourError(
                f"nothing of class {name} is left, since classes before it hold all its voxels",
                where="contours.class_overlap: first",
                action="name the inner class first in contours.classes",
            )
    return LabelMask(rois, labels, tuple(warnings))


def _overlap(
    name: str, mask: npt.NDArray[np.bool_], labels: Labels, settings: ContourSettings, grid: Grid
) -> str:
    """The warning of voxels that classes before this one hold as well.

    Raises:
        ContourError: The study refuses them.
    """
    names, shared = settings.class_names(), labels[mask & (labels > 0)]
    others = [names[label - 1] for label in np.unique(shared)]
    size = f"{len(shared)} voxels ({len(shared) * grid.voxel_ml():.3g} mL)"
    if settings.class_overlap == "first":
        return f"class {name} shares {size} with {', '.join(others)}; they belong to the class that is named first"
    raise ContourError(
        f"contours of the classes {', '.join((*others, name))} overlap",
        expected="no voxel in two classes",
        got=f"{size} in both",
        action="correct the contours, or set contours.class_overlap: first, which gives such voxels to the class "
        "that contours.classes names first",
    )


def require_classes_on_one_image(
    by_image: Mapping[Modality, Sequence[RoiMask]], settings: ContourSettings
) -> None:
    """The image whose mask the crop takes has every class that the patient has.

    Raises:
        ContourError: One class was drawn on the CT and another on the PET.
    """
    preferred = settings.crop_mask if settings.crop_mask in by_image else next(iter(by_image))
    present = {roi.mask_class for roi in by_image[preferred]}
    for modality, rois in by_image.items():
        missing = sorted({roi.mask_class for roi in rois} - present)
        if missing:
            raise ContourError(
                f"class {', '.join(missing)} was drawn on the {modality.upper()} and not on the {preferred.upper()}",
                where=f"contours.crop_mask: {settings.crop_mask}",
                expected="all classes of a patient on one image",
                action="draw them on one image, or set contours.crop_mask to the image that has all",
            )
