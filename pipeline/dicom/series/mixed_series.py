"""What a CT or PET series holds beside its slices: localisers, dose reports and captures, and images sent again."""

from __future__ import annotations

from dataclasses import replace

from pipeline.dicom.header.geometry import depths_of
from pipeline.dicom.series.duplicates import differing_elements
from pipeline.dicom.series.instance import Instance
from pipeline.dicom.series.series import Series, ordered

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
}
PET_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.128": "PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "Legacy Converted Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET",
}
_NOT_VOLUMES = (
    "LOCALIZER",
    "MIP",
    "MINIP",
    "MIN_IP",
    "MINIMUM",
    "PROJECTION IMAGE",
    "FUSION",
    "SCREEN SAVE",
    "DOSE",
)
_COMPARED = 3
"""Positions at which images are compared as whole files: the first, one in the middle and the last."""


def not_a_slice(instance: Instance, role: str) -> str:
    """Why an image is no slice of a PET or CT; empty if it may be one."""
    if instance.sop_class_uid not in (PET_CLASSES if role == "pet" else CT_CLASSES):
        return "a secondary capture, a raw or a derived object by its SOP class"
    for kind in _NOT_VOLUMES:
        if any(kind in value for value in instance.image_type):
            return f"(0008,0008) Image Type says {kind}"
    return ""


def slices_alone(series: Series, role: str) -> Series:
    """A series without the images that an archive put into it and that say of themselves to be no slices.

    A series most of whose images are none is left as it is, and rejected as a whole.
    """
    reasons = [not_a_slice(instance, role) for instance in series.instances]
    kept = [i for i, reason in zip(series.instances, reasons, strict=True) if not reason]
    others = len(reasons) - len(kept)
    if not 0 < others <= len(kept):
        return series
    why = ", ".join(sorted(set(reasons) - {""}))
    left_out = f"{others} of the series' {len(reasons)} files left out, which are no slices: {why}"
    return ordered(replace(series, instances=tuple(kept), left_out=left_out))


def sent_again(series: Series) -> bool:
    """Whether a series whose positions all have several images holds copies under different SOP Instance UIDs.

    Images are compared in all that values depend on at some positions.
    """
    if any(len(instance.planes) != 1 for instance in series.instances):
        return False
    groups: list[list[Instance]] = []
    depths = depths_of([i.planes[0] for i in series.instances])
    for number, (depth, instance) in enumerate(zip(depths, series.instances, strict=True)):
        if number and depth - depths[number - 1] < 1e-3:
            groups[-1].append(instance)
        else:
            groups.append([instance])
    if min(len(group) for group in groups) < 2:
        return False
    compared = [groups[round(n * (len(groups) - 1) / (_COMPARED - 1))] for n in range(_COMPARED)]
    return not any(differing_elements(group[0].path, other.path) for group in compared for other in group[1:])
