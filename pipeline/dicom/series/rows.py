"""Series as rows of the index: what each is, whether it is used, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from pipeline.dicom.header.geometry import depths_of
from pipeline.dicom.series.index_file import Role, SeriesGeometry, SeriesRow
from pipeline.dicom.series.series import Examination, Series

ROLES: dict[str, Role] = {"CT": "ct", "PT": "pet", "RTSTRUCT": "rtstruct", "SEG": "seg"}
NAMES = {"ct": "CT", "pet": "PET"}
MODALITIES = frozenset(
    (
        "CT",
        "PT",
        "MR",
        "NM",
        "RTSTRUCT",
        "SEG",
        "RTDOSE",
        "RTPLAN",
        "REG",
        "SR",
        "PR",
        "KO",
        "OT",
        "SC",
        "US",
        "CR",
    )
)
"""(0008,0060) that messages name; another text may be anything."""


def role_of(series: Series) -> Role:
    """What a series is to the pipeline by its modality."""
    return ROLES.get(series.first.modality, "")


def named_modality(series: Series) -> str:
    """A modality as messages name it; what is none of the standard's may be anything."""
    return series.first.modality if series.first.modality in MODALITIES else "others"


def row_of(
    series: Series, picked: Mapping[str, Series], rejection: str, examination: Examination | None
) -> SeriesRow:
    """A series as a row of the index, with the reason why it is used or not.

    Args:
        series: The series.
        picked: The chosen images by role.
        rejection: Why it cannot be used; empty if it can.
        examination: The chosen examination; None where all series are candidates.
    """
    first, role = series.first, role_of(series)
    chosen, reason = _verdict(series, picked, rejection, examination)
    return SeriesRow(
        modality=first.modality,
        series_uid=series.uid,
        study_uid=series.study,
        frame_of_reference_uid=series.frame,
        description=first.description,
        instances=len(series.instances),
        geometry=_geometry(series),
        role=role,
        chosen=chosen,
        reason=reason,
        references=first.references,
    )


def _verdict(
    series: Series, picked: Mapping[str, Series], rejection: str, examination: Examination | None
) -> tuple[bool, str]:
    role = role_of(series)
    if rejection:
        return False, rejection
    if role in ("rtstruct", "seg"):
        return _contour_verdict(series, picked)
    if picked.get(role) is series:
        note = "".join(f"; {text}" for text in (series.note, series.left_out) if text)
        return True, f"{NAMES[role]} with {series.slices} slices, first by the rules of choice{note}"
    if examination is not None and series.uid not in examination.uids:
        other = "date" if series.study in examination.studies else "study"
        return False, f"another {other} was chosen"
    return False, f"another {NAMES[role]} comes first by the rules of choice"


def _contour_verdict(series: Series, picked: Mapping[str, Series]) -> tuple[bool, str]:
    references = {uid for instance in series.instances for uid in instance.references}
    for role, image in picked.items():
        if image.uids & references:
            return True, f"refers to the chosen {NAMES[role]}"
    if series.frame and series.frame in {image.frame for image in picked.values()}:
        return True, "shares the frame of reference of the chosen images"
    return False, "belongs neither to the chosen images nor to their frame of reference"


def depths_by_series(series: Sequence[Series]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """By UID, where the planes of each instance lie along the normal of the first, mm; only of series with geometry."""
    return {s.uid: _depths(s) for s in series if s.has_geometry()}


def _depths(series: Series) -> tuple[tuple[float, ...], ...]:
    depths = iter(depths_of([plane for instance in series.instances for plane in instance.planes]).tolist())
    return tuple(tuple(islice(depths, len(instance.planes))) for instance in series.instances)


def _geometry(series: Series) -> SeriesGeometry:
    if not series.has_geometry():
        return SeriesGeometry()
    planes = [plane for instance in series.instances for plane in instance.planes]
    depths = np.sort(depths_of(planes))
    gap = float(np.median(np.diff(depths))) if len(depths) > 1 else 0.0
    first = planes[0]
    return SeriesGeometry((len(planes), *first.shape), (gap, *first.spacing_mm), first.orientation)
