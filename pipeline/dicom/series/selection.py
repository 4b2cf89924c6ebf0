"""Which of a patient's series is the PET and which the CT, and why."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.dicom.header.geometry import axes_of, depths_of
from pipeline.dicom.series.ct_details import not_hounsfield, without_unit
from pipeline.dicom.series.examinations import apart_rank
from pipeline.dicom.series.mixed_series import not_a_slice, sent_again
from pipeline.dicom.series.pet_details import PetDetails, PetRules
from pipeline.dicom.series.series import Series

# Words in (0008,103E) that mean no attenuation correction where (0028,0051) is absent.
# In English, German, French, Italian, Spanish, Portuguese, Dutch and the Nordic languages.
_NEGATED = r"(un|not|non?|nicht|niet|ej|ikke|icke|pas|n[aã]o)"
_WITHOUT = r"(w/o|wo|without|ohne|o\.|sans|senza|sin|sem|zonder|uden|uten|utan)"
_CORRECTION = r"((ct|mr)?[ _.-]*ac|att\w*|g?e?[ck]orr\w*|schw[aäk]\w*|sk|ca|verzw\w*|d[aä]mp\w*)"
_NAC = re.compile(
    rf"(?<![^\W\d_])(nac|({_NEGATED}|{_WITHOUT})[ _.-]*{_CORRECTION}"
    r"|okorr\w*|(ct)?ac([ _]*[:=-])?[ _]*(off|none|aus|nein)|(ct)?ac[ _]*[:=][ _]*no)"
    r"(?![^\W\d_])",
    re.IGNORECASE,
)
# CT kernels made for bone or lung: Siemens B/Br/H 50 and up, GE and Philips names.
_SHARP = re.compile(r"^(b[rlv]?|h[rv]?|i|j)(5|6|7|8)\d|bone|lung|edge|detail|sharp|^y[bcde]", re.IGNORECASE)


def exclusion_reason(series: Series, role: str, min_slices: int, dynamic: bool = False) -> str:
    """Why a series of the right modality cannot be the PET or the CT; empty if it can.

    `dynamic` says that one frame of a dynamic or gated acquisition may be used.
    """
    others = [reason for reason in (not_a_slice(i, role) for i in series.instances) if reason]
    if others:
        return f"not a volume: {others[0]}" + _of_files(len(others), len(series.instances))
    if series.slices < min_slices:
        return f"{series.slices} slices, fewer than index.min_slices = {min_slices}"
    if not series.has_geometry():
        return "slices lack a usable position, orientation or pixel spacing"
    for name, values in (
        ("(0020,0052) Frame of Reference", series.frames),
        ("(0020,000D) Study", series.studies),
    ):
        if len(values) > 1:
            return f"files of {len(values)} {name} UIDs in one series"
    if _repeats(series):
        if sent_again(series):
            return (
                "each image several times under different (0008,0018) SOP Instance UIDs: copies that were sent again; "
                "keep one of each"
            )
        return "several images at one position: gated, dynamic or repeated"
    return _pet_exclusion_reason(series, dynamic) if role == "pet" else not_hounsfield(series)


def _of_files(count: int, whole: int) -> str:
    return "" if count == whole else f" ({count} of {whole} files)"


def _repeats(series: Series) -> bool:
    """Whether half of the planes or more share a position with another."""
    depths = np.sort(depths_of([p for i in series.instances for p in i.planes]))
    return bool((np.diff(depths) < 1e-3).sum() * 2 >= len(depths))


def _pet_exclusion_reason(series: Series, dynamic: bool) -> str:
    corrected = [set(i.corrected) for i in series.instances]
    if any(flags and "ATTN" not in flags for flags in corrected):
        return "not corrected for attenuation: (0028,0051) Corrected Image lacks ATTN"
    if any(instance.unattenuated for instance in series.instances):
        return "not corrected for attenuation: (0054,1101) Attenuation Correction Method says so"
    if not any(corrected) and _NAC.search(series.first.description):
        return "not corrected for attenuation, by its (0008,103E) Series Description"
    kinds = {kind for instance in series.instances for kind in instance.series_type}
    for kind in ("GATED", "DYNAMIC"):
        if kind in kinds and not dynamic:
            return f"{kind.lower()} acquisition by (0054,1000) Series Type"
    return ""


def attenuation_warnings(series: Series) -> list[str]:
    """Warn of a PET that is called uncorrected and says that it is corrected."""
    if not _NAC.search(series.first.description):
        return []
    return [
        "PET: its (0008,103E) Series Description says that it is not corrected for attenuation, (0028,0051) Corrected "
        "Image says that it is; look at it, and name another series by index.prefer_pet"
    ]


def pattern_rank(description: str, patterns: Sequence[str]) -> int:
    """Position of the first pattern that a description matches; the number of patterns if none."""
    for rank, pattern in enumerate(patterns):
        if fnmatch.fnmatchcase(description.lower(), pattern.lower()):
            return rank
    return len(patterns)


@dataclass(frozen=True)
class Choice:
    """A chosen series.

    Attributes:
        series: The series.
        ties: Number of other series that the rules rank equally.
    """

    series: Series
    ties: int


def best_pet(
    candidates: Sequence[Series], patterns: Sequence[str], details: Mapping[str, PetDetails], rules: PetRules
) -> Choice:
    """The PET: by pattern, expected tracer, uptake window, name, original before derived, slices, finer voxels.

    Among series that are equal by all of these, the earliest is taken.

    Args:
        candidates: Series that can be the PET.
        patterns: patterns of series descriptions, best first.
        details: Tracer and uptake time by series UID.
        rules: What the study expects of them.
    """
    return _best(candidates, lambda series: _pet_key(series, patterns, rules.rank(details[series.uid])))


def _pet_key(series: Series, patterns: Sequence[str], rank: tuple[int, int]) -> tuple:
    return (
        pattern_rank(series.first.description, patterns),
        *rank,
        bool(attenuation_warnings(series)),
        "ORIGINAL" not in series.first.image_type,
        -series.slices,
        series.first.planes[0].spacing_mm[0],
    )


def best_ct(candidates: Sequence[Series], patterns: Sequence[str], pet: Series | None) -> Choice:
    """The CT: by pattern, the PET's date, frame and study, coverage, a unit, original, soft kernel, slices, voxels.

    Among series that are equal by all of these, the earliest is taken.
    """
    return _best(candidates, lambda series: _ct_key(series, patterns, pet))


def _ct_key(series: Series, patterns: Sequence[str], pet: Series | None) -> tuple:
    return (
        pattern_rank(series.first.description, patterns),
        apart_rank(series, pet) if pet is not None else 0,
        pet is not None and series.frame != pet.frame,
        pet is not None and series.study != pet.study,
        -round(coverage(series, pet), 2) if pet else 0.0,
        without_unit(series),
        any("ORIGINAL" not in instance.image_type for instance in series.instances),
        bool(_SHARP.search(series.first.kernel)),
        -series.slices,
        series.first.planes[0].spacing_mm[0],
    )


def _best(candidates: Sequence[Series], key: Callable[[Series], tuple]) -> Choice:
    """The least by key, then by time, then by UID, so that the order of files does not matter."""
    keys = {series.uid: key(series) for series in candidates}
    best = min(candidates, key=lambda s: (keys[s.uid], s.first.series_datetime, s.uid))
    return Choice(best, sum(value == keys[best.uid] for value in keys.values()) - 1)


def coverage(series: Series, other: Series) -> float:
    """Share (0 to 1) of the other series' extent along its normal that a series covers."""
    normal = axes_of(other.first.planes[0].orientation)[:, 2]
    own = np.asarray([p.position for i in series.instances for p in i.planes]) @ normal
    covered = depths_of([p for i in other.instances for p in i.planes])
    length = float(covered.max() - covered.min())
    shared = min(own.max(), covered.max()) - max(own.min(), covered.min())
    return float(np.clip(shared / length, 0, 1)) if length > 0 else 0.0
