"""Unions of ROIs that a pattern may have made unawares: old versions, other observers, nodes with tumours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from pipeline.dicom.contours.roi import RoiMask, dice
from pipeline.dicom.header.rtstruct import matches

OBSERVERS_DICE = 0.5
"""Two ROIs that overlap more than this draw one lesion twice; neighbouring lesions hardly overlap."""
ENCLOSED = 0.5
"""An ROI that holds more of a smaller one was drawn around it, or is another version of it."""
_SUPERSEDED = re.compile(
    r"(?:^|[^a-z])(?:old|prev(?:ious)?|copy|backup|bak|draft|tmp|temp|test|delete|dnu|do[ _-]?not[ _-]?use)"
    r"(?:$|[^a-z])",
    re.IGNORECASE,
)
_DERIVED = re.compile(
    r"(?:^|[^a-z])(?:ring|shell|rind|wall|margin|exp(?:an(?:d|ded|sion))?|dil(?:ated)?|minus|plus|opt|eval|sum|union"
    r"|(?:w(?:ee)?k|fx|fraction|visit|scan|tp)[ _-]*\d+)(?:$|[^a-z])|[+-]?\d+(?:\.\d+)?[ _]*[mc]m(?:$|[^a-z])",
    re.IGNORECASE,
)
"""Names of what is made from another ROI, such as a ring around it or a margin, or is drawn at another time."""
_NODAL = re.compile(
    r"(?:^(?:gtv)?[ _-]?n|(?:^gtv|^|[ _-])(?:nd|lns?|nodes?|nodal|lymph\w*))(?:$|[^a-z])", re.IGNORECASE
)
"""Names of lymph nodes; whatever else is united with them is not, or may not be, one."""


def doubtful_unions(rois: Sequence[RoiMask], patterns: Sequence[str]) -> list[str]:
    """Warnings, with the names, of ROIs of one image that are united and perhaps should not be.

    Args:
        rois: The ROIs that one image's mask unites.
        patterns: The patterns that chose them; names that are written out were chosen on purpose.
    """
    loose = [roi for roi in rois if not any(_is_plain(pattern, roi.name) for pattern in patterns)]
    if len(rois) < 2 or not loose:
        return []
    warnings: list[str] = []
    unnamed = {id(roi) for roi in loose}
    superseded = [roi.label for roi in loose if _SUPERSEDED.search(roi.name)]
    if superseded:
        warnings.append(f"the mask unites {_listed(rois)}; {_quoted(superseded)} may be superseded")
    derived = [roi.label for roi in loose if _DERIVED.search(roi.name)]
    if derived:
        warnings.append(
            f"the mask unites {_listed(rois)}; {_quoted(derived)} may be made from another one, or of another time"
        )
    for pattern in patterns:
        fitting = [roi for roi in rois if matches(roi.name, [pattern])]
        nodal = [roi.label for roi in fitting if _NODAL.search(roi.name)]
        primary = [roi.label for roi in fitting if not _NODAL.search(roi.name)]
        if primary and nodal:
            warnings.append(
                f"the pattern {pattern!r} unites primary tumour and lymph nodes: {_quoted(primary + nodal)}"
            )
    for first, second in combinations(rois, 2):
        if first.name.lower() == second.name.lower() or not {id(first), id(second)} & unnamed:
            continue
        overlap = dice(first.mask, second.mask)
        shared = _share_of_smaller(first, second)
        if overlap <= OBSERVERS_DICE and shared > ENCLOSED:
            warnings.append(
                f"the mask unites {first.label!r} and {second.label!r}, of which one holds {100 * shared:.0f} % of the "
                "other: a margin, a sum of others or an older version"
            )
        if overlap > OBSERVERS_DICE:
            warnings.append(
                f"the mask unites {first.label!r} and {second.label!r}, which overlap with a Dice of {overlap:.2f}: "
                "one lesion of two observers or versions, or a sum of others"
            )
    return warnings


def _share_of_smaller(first: RoiMask, second: RoiMask) -> float:
    """Overlap over the smaller ROI's voxels."""
    size = min(int(first.mask.sum()), int(second.mask.sum()))
    return int((first.mask & second.mask).sum()) / size if size else 0.0


def _is_plain(pattern: str, name: str) -> bool:
    """Whether a pattern is the name itself, without `*`, `?` or `[…]`."""
    return not re.search(r"[*?\[]", pattern) and matches(name, [pattern])


def _listed(rois: Sequence[RoiMask]) -> str:
    return _quoted([roi.label for roi in rois])


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(repr(label) for label in dict.fromkeys(labels))
