"""Index of one patient's files: every series with its role, and which ones are used."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom import dcmread

from pipeline.dicom.header.geometry import depths_of
from pipeline.dicom.header.pet_header import add_missing_values, slice_header
from pipeline.dicom.header.values import quiet_reading
from pipeline.dicom.series.archives import Limits
from pipeline.dicom.series.index_file import Index, PetToCt, Role, SeriesGeometry, SeriesRow, write_index
from pipeline.dicom.series.scan import BROKEN, Scan, scan_folder
from pipeline.dicom.series.selection import (
    Choice,
    Series,
    best_ct,
    best_pet,
    exclusion_reason,
    one_frame,
    series_of,
)
from pipeline.errors import DicomError
from pipeline.settings.base import Policy
from pipeline.settings.dicom import IndexSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import patient_stage

log = logging.getLogger(__name__)
_ROLES: dict[str, Role] = {"CT": "ct", "PT": "pet", "RTSTRUCT": "rtstruct", "SEG": "seg"}
_NAMES = {"ct": "CT", "pet": "PET"}


def index_patient(patient: PatientFiles, settings: IndexSettings, out: Path, policy: Policy) -> None:
    """List a patient's series in `out/series.json` and choose the PET and the CT.

    The index depends on this patient's files alone. Contours (RTSTRUCT, SEG) that refer to the
    chosen series or share their frame of reference are chosen, too.

    Args:
        patient: The patient and the folder with the patient's files.
        settings: Rules by which series are chosen.
        out: Folder of this patient's index; the only one that holds UIDs.
        policy: What happens to a patient without usable series.

    Raises:
        DicomError: (policy `stop`) no files, several patients, no usable PET or CT,
            several studies, or different frames of reference.
    """
    with patient_stage("index", patient.patient_id, out, policy) as warnings:
        scan = _scan(patient, out, settings)
        _warn_of_broken_files(scan, warnings)
        series = [_with_one_frame(s, settings) for s in series_of(scan.instances)]
        rejected = {s.uid: _rejection(s, settings) for s in series}
        usable = [s for s in series if not rejected[s.uid]]
        study = _one_study(usable, settings)
        choices = _pick(series, rejected, study, settings)
        _warn_of_ties(choices, warnings)
        picked = {role: choice.series for role, choice in choices.items()}
        warnings.extend(f"{_NAMES[role]}: {s.note}" for role, s in picked.items() if s.note)
        aligned = _alignment(picked, settings, warnings)
        rows = tuple(_row(s, picked, rejected[s.uid], study) for s in series)
        _require_one_content(rows, scan)
        files = {s.uid: tuple(i.path for i in s.instances) for s in series}
        folder = patient.folder.absolute()
        write_index(out, Index(patient.patient_id, folder, rows, files, dict(scan.skipped), aligned))


def _pick(
    series: Sequence[Series], rejected: dict[str, str], study: str, settings: IndexSettings
) -> dict[str, Choice]:
    picked: dict[str, Choice] = {}
    pets = _choose("pet", series, rejected, study)
    if pets:
        picked["pet"] = best_pet(pets, settings.prefer_pet)
    else:
        _require("pet", series, rejected, settings)
    cts = _choose("ct", series, rejected, study)
    if cts:
        pet = picked["pet"].series if pets else None
        picked["ct"] = best_ct(cts, settings.prefer_ct, pet)
    else:
        _require("ct", series, rejected, settings)
    return picked


def _warn_of_ties(choices: dict[str, Choice], warnings: list[str]) -> None:
    """Warn where series differ in time only: another time point or reconstruction may be meant."""
    for role, choice in choices.items():
        if choice.ties:
            warnings.append(
                f"{choice.ties} more {_NAMES[role]} series are equal by the rules; the earliest was taken, "
                f"name one by index.prefer_{role}"
            )


def _scan(patient: PatientFiles, out: Path, settings: IndexSettings) -> Scan:
    if not patient.folder.exists():
        raise DicomError(
            "the image folder does not exist", where=str(patient.folder), action="correct image_path"
        )
    limits = Limits(settings.max_unpacked_mib, settings.max_deflated_mib)
    scan = scan_folder(patient.folder.absolute(), out.absolute() / "unpacked", limits)
    if not scan.instances:
        skipped = ", ".join(f"{n} {reason}" for reason, n in scan.skipped.items()) or "no files"
        raise DicomError("no DICOM in the image folder", where="image_path", got=skipped)
    people = {i.patient_key for i in scan.instances if i.patient_key}
    if len(people) > 1:
        raise DicomError(
            "the image folder holds several patients",
            where="image_path, (0010,0020) Patient ID",
            expected="one patient",
            got=f"{len(people)} different values",
            action="give each patient a folder, or draft the cohort table from the whole dump",
        )
    return scan


def _require_one_content(rows: Sequence[SeriesRow], scan: Scan) -> None:
    """Refuse a series in use whose files of one SOP Instance UID differ: which is right, none says."""
    for row in rows:
        if row.chosen and row.series_uid in scan.conflicts:
            tags = scan.conflicts[row.series_uid]
            raise DicomError(
                "files of one (0008,0018) SOP Instance UID hold different contents",
                where=f"{row.role} series",
                expected="one content for each UID (plain copies count once)",
                got="they differ in " + ", ".join(tags[:6]) + (" and more" if len(tags) > 6 else ""),
                action="keep the right export only in the patient's folder",
            )


def _warn_of_broken_files(scan: Scan, warnings: list[str]) -> None:
    """Warn of broken files: slices lost at the end of a series leave no gap that convert could see."""
    broken = {reason: n for reason, n in scan.skipped.items() if reason in BROKEN}
    if broken:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in sorted(broken.items()))
        warnings.append(f"files passed over: {reasons}; the chosen series may be shorter than it was")


def _role(series: Series) -> Role:
    return _ROLES.get(series.first.modality, "")


def _with_one_frame(series: Series, settings: IndexSettings) -> Series:
    """One frame of a dynamic or gated PET or CT, where the settings want it."""
    if settings.repeated_frames == "refuse" or _role(series) not in ("ct", "pet"):
        return series
    return one_frame(series, settings.repeated_frames)


def _rejection(series: Series, settings: IndexSettings) -> str:
    role = _role(series)
    if len({instance.modality for instance in series.instances}) > 1:
        return "files of several modalities under one (0020,000E) Series Instance UID"
    if role in ("ct", "pet"):
        return exclusion_reason(series, role, settings.min_slices, settings.repeated_frames != "refuse")
    return "" if role else f"modality {series.first.modality or 'not given'} is not used"


def _one_study(usable: Sequence[Series], settings: IndexSettings) -> str:
    """The study to use; empty if no single study holds all that is needed (then all are used)."""
    roles: dict[str, set[str]] = {}
    datetimes: dict[str, str] = {}
    for series in usable:
        if _role(series) in ("ct", "pet"):
            roles.setdefault(series.study, set()).add(_role(series))
            datetimes.setdefault(series.study, series.first.study_datetime)
    needed = set(settings.modalities)
    complete = sorted((s for s in roles if roles[s] >= needed), key=lambda s: (datetimes[s], s))
    if len(complete) <= 1:
        return complete[0] if complete else ""
    if settings.several_studies == "refuse":
        raise DicomError(
            "several studies hold usable images",
            where="(0020,000D) Study Instance UID",
            expected="one study",
            got=f"{len(complete)} studies",
            action="set index.several_studies to first or last, or name one study's folder",
        )
    return complete[0] if settings.several_studies == "first" else complete[-1]


def _choose(
    role: Literal["pet", "ct"], series: Sequence[Series], rejected: dict[str, str], study: str
) -> list[Series]:
    return [s for s in series if not rejected[s.uid] and _role(s) == role and study in ("", s.study)]


def _require(role: str, series: Sequence[Series], rejected: dict[str, str], settings: IndexSettings) -> None:
    """Refuse a patient who lacks a series of a role that the settings ask for."""
    if role not in settings.modalities:
        return
    reasons = sorted({rejected[s.uid] for s in series if _role(s) == role and rejected[s.uid]})
    others = sorted({s.first.modality or "none given" for s in series})
    error = DicomError(
        f"no usable {_NAMES[role]} series",
        where="series of the patient",
        expected=f"a {_NAMES[role]} of at least {settings.min_slices} slices",
        got="; ".join(reasons) if reasons else "modalities " + ", ".join(others),
        action="send the missing series, or leave it out of index.modalities",
    )
    _add_missing(error, [s.first.path for s in series if _role(s) == "pet"])
    raise error


def _add_missing(error: DicomError, pets: Sequence[Path]) -> None:
    """Name in a refusal what the first PET's headers lack, too."""
    # A file whose index headers are readable may be broken further on; then nothing is added.
    with quiet_reading(), contextlib.suppress(Exception):
        if pets:
            add_missing_values(
                error, slice_header(dcmread(pets[0], stop_before_pixels=True, force=True)).series
            )


def _alignment(picked: dict[str, Series], settings: IndexSettings, warnings: list[str]) -> PetToCt:
    """How PET and CT are aligned; without a common (0020,0052) a setting must say."""
    if len(picked) < 2:
        return "alone"
    pet, ct = picked["pet"].frame, picked["ct"].frame
    if pet and pet == ct:
        return "same_frame"
    got = "different frames" if pet and ct else "a series without frame of reference"
    if settings.different_frames == "refuse":
        raise DicomError(
            "PET and CT do not share a frame of reference",
            where="(0020,0052) Frame of Reference UID",
            expected="one frame",
            got=got,
            action="send series of one examination, or set index.different_frames: register (or accept, "
            "if you know that they lie on each other)",
        )
    if settings.different_frames == "register":
        warnings.append(f"PET is to be registered to the CT: (0020,0052) gives {got}")
        return "register"
    warnings.append(f"PET and CT taken as aligned by index.different_frames although (0020,0052) gives {got}")
    return "accepted"


def _row(series: Series, picked: dict[str, Series], rejection: str, study: str) -> SeriesRow:
    first, role = series.first, _role(series)
    chosen, reason = _verdict(series, picked, rejection, study)
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


def _verdict(series: Series, picked: dict[str, Series], rejection: str, study: str) -> tuple[bool, str]:
    role = _role(series)
    if rejection:
        return False, rejection
    if role in ("rtstruct", "seg"):
        return _contour_verdict(series, picked)
    if picked.get(role) is series:
        note = f"; {series.note}" if series.note else ""
        return True, f"{_NAMES[role]} with {series.slices} slices, first by the rules of choice{note}"
    if study not in ("", series.study):
        return False, "another study was chosen"
    return False, f"another {_NAMES[role]} comes first by the rules of choice"


def _contour_verdict(series: Series, picked: dict[str, Series]) -> tuple[bool, str]:
    references = {uid for instance in series.instances for uid in instance.references}
    for role, image in picked.items():
        if image.uid in references:
            return True, f"refers to the chosen {_NAMES[role]}"
    if series.frame and series.frame in {image.frame for image in picked.values()}:
        return True, "shares the frame of reference of the chosen images"
    return False, "belongs neither to the chosen images nor to their frame of reference"


def _geometry(series: Series) -> SeriesGeometry:
    if not series.has_geometry():
        return SeriesGeometry()
    planes = [plane for instance in series.instances for plane in instance.planes]
    depths = np.sort(depths_of(planes))
    gap = float(np.median(np.diff(depths))) if len(depths) > 1 else 0.0
    first = planes[0]
    return SeriesGeometry((len(planes), *first.shape), (gap, *first.spacing_mm), first.orientation)
