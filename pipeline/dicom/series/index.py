"""Index of one patient's files: every series with its role, and which ones are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from pipeline.dicom.header.pet_header import add_missing_values
from pipeline.dicom.header.pet_header_reading import slice_header
from pipeline.dicom.header.values import quiet_reading
from pipeline.dicom.series.acquisitions import joined_parts, one_acquisition, several_acquisitions
from pipeline.dicom.series.alignment import alignment, warn_of_short_images
from pipeline.dicom.series.archives import Limits
from pipeline.dicom.series.ct_details import mixed_acquisition, unit_warnings
from pipeline.dicom.series.examinations import date_warnings, one_examination
from pipeline.dicom.series.index_file import Index, write_index
from pipeline.dicom.series.mixed_series import slices_alone
from pipeline.dicom.series.pet_details import PetRules, details_of, pet_warnings
from pipeline.dicom.series.rows import NAMES, depths_by_series, named_modality, role_of, row_of
from pipeline.dicom.series.scan import BROKEN, Scan, scan_folder
from pipeline.dicom.series.selection import (
    Choice,
    attenuation_warnings,
    best_ct,
    best_pet,
    exclusion_reason,
    pattern_rank,
)
from pipeline.dicom.series.series import Examination, Series, one_frame, series_of
from pipeline.errors import DicomError
from pipeline.settings.base import Policy
from pipeline.settings.dicom import IndexSettings
from pipeline.tables.failures import raise_machine_failure
from pipeline.tables.files import PatientFiles, images_in_place
from pipeline.tables.status import Warnings, patient_stage, read_whole

_JOINED = "part of an image that was exported as several series; they are joined"

_TWO_CONTENTS = "files of one (0008,0018) SOP Instance UID hold different contents"


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
        DicomError: (policy `stop`) no DICOM, several patients, no usable PET or CT,
            several studies, or different frames of reference.
        PatientError: (policy `stop`) no images.
        MachineError: Images that were there when the run began are gone, or changed meanwhile.
    """
    with patient_stage("index", patient.patient_id, out, policy) as work, images_in_place(patient):
        warnings = work.warnings
        _require_whole_phantom(patient.folder.absolute(), out.absolute().parent.parent)
        scan = _scan(patient, work.folder, settings)
        _warn_of_broken_files(scan, warnings)
        whole = [_with_one_frame(s, settings) for s in series_of(scan.as_one_series())]
        joined = joined_parts(whole)
        series = [joined[s.uid] if s.uid in joined and joined[s.uid].uid == s.uid else s for s in whole]
        rejected = {s.uid: _rejection(s, settings, scan.conflicts.get(s.uid, ())) for s in series}
        rejected |= {uid: _JOINED for uid, one in joined.items() if one.uid != uid}
        usable = [s for s in series if not rejected[s.uid]]
        examination = one_examination(usable, settings)
        picked = _pick(Candidates(series, rejected, examination), settings, warnings)
        told = ((role, text) for role, s in picked.items() for text in (s.note, s.left_out))
        warnings.extend(f"{NAMES[role]}: {text}" for role, text in told if text)
        aligned = alignment(picked, settings, warnings)
        warn_of_short_images(picked, settings, warnings)
        rows = tuple(row_of(s, picked, rejected[s.uid], examination) for s in series)
        in_use = {row.series_uid for row in rows if row.chosen}.union(*(s.uids for s in picked.values()))
        _require_one_content(in_use, scan)
        files = {s.uid: tuple(i.path for i in s.instances) for s in series}
        folder = patient.folder.absolute()
        sop_uids = {s.uid: tuple(i.sop_instance_uid for i in s.instances) for s in series}
        scanned = {i.sop_instance_uid for i in scan.instances}
        left_out = tuple(sorted(scanned.difference(*sop_uids.values()) - {""}))
        index = Index(
            patient.patient_id,
            folder,
            rows,
            files,
            dict(scan.skipped),
            aligned,
            sop_uids,
            left_out,
            depths_by_series(series),
        )
        write_index(work.folder, index)


@dataclass(frozen=True)
class Candidates:
    """The series of a patient, and which of them can be used.

    Attributes:
        series: All of them.
        rejected: By UID, why a series cannot be used; empty if it can.
        examination: The examination to use; None: all series.
    """

    series: Sequence[Series]
    rejected: Mapping[str, str]
    examination: Examination | None

    def of_role(self, role: str) -> list[Series]:
        """Those that can be the PET or the CT."""
        return [
            s
            for s in self.series
            if not self.rejected[s.uid]
            and role_of(s) == role
            and (self.examination is None or s.uid in self.examination.uids)
        ]


def _pick(candidates: Candidates, settings: IndexSettings, warnings: Warnings) -> dict[str, Series]:
    picked: dict[str, Series] = {}
    pets, cts = candidates.of_role("pet"), candidates.of_role("ct")
    if pets:
        picked["pet"] = _pick_pet(pets, settings, warnings)
    else:
        _require("pet", candidates, settings)
    if cts:
        choice = best_ct(cts, settings.prefer_ct, picked.get("pet"))
        _warn_of_ties("ct", choice, warnings)
        picked["ct"] = choice.series
        warnings.extend((*unit_warnings(choice.series), *mixed_acquisition(choice.series)))
    else:
        _require("ct", candidates, settings)
    if len(picked) == 2:
        warnings.extend(date_warnings(picked["pet"], picked["ct"], len(pets) + len(cts) > 2, settings))
    return picked


def _pick_pet(pets: Sequence[Series], settings: IndexSettings, warnings: Warnings) -> Series:
    rules, patterns = PetRules.of(settings), settings.prefer_pet
    details = {series.uid: details_of(series) for series in pets}
    choice = best_pet(pets, patterns, details, rules)
    _warn_of_ties("pet", choice, warnings)
    rank = pattern_rank(choice.series.first.description, patterns)
    rivals = [
        s for s in pets if s is not choice.series and pattern_rank(s.first.description, patterns) == rank
    ]
    warnings.extend(pet_warnings(choice.series, rivals, details, rules))
    warnings.extend(attenuation_warnings(choice.series))
    return choice.series


def _warn_of_ties(role: str, choice: Choice, warnings: list[str]) -> None:
    """Warn where series differ in time only: another time point or reconstruction may be meant."""
    if choice.ties:
        warnings.append(
            f"{choice.ties} more {NAMES[role]} series are equal by the rules; the earliest was taken, "
            f"name one by index.prefer_{role}"
        )


def _require_whole_phantom(images: Path, results: Path) -> None:
    """Compare images that the study generated with their manifest; those of an archive have none.

    Raises:
        DamageError: A file of the phantom is missing, cut or changed.
    """
    phantoms = results / "phantom"
    if images.is_relative_to(phantoms):
        read_whole(phantoms / images.relative_to(phantoms).parts[0])


def _scan(patient: PatientFiles, out: Path, settings: IndexSettings) -> Scan:
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


def _require_one_content(in_use: Iterable[str], scan: Scan) -> None:
    """Refuse series in use whose files of one SOP Instance UID differ: which is right, none says."""
    tags = tuple(dict.fromkeys(tag for uid in sorted(in_use) for tag in scan.conflicts.get(uid, ())))
    if tags:
        raise DicomError(
            _TWO_CONTENTS,
            where="series in use",
            expected="one content for each UID (plain copies count once)",
            got="they differ in " + _listed(tags),
            action="keep the right export only in the patient's folder",
        )


def _listed(tags: Sequence[str]) -> str:
    return ", ".join(tags[:6]) + (" and more" if len(tags) > 6 else "")


def _warn_of_broken_files(scan: Scan, warnings: list[str]) -> None:
    """Warn of broken files: slices lost at the end of a series leave no gap that convert could see."""
    broken = {reason: n for reason, n in scan.skipped.items() if reason in BROKEN}
    if broken:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in sorted(broken.items()))
        warnings.append(f"files passed over: {reasons}; the chosen series may be shorter than it was")


def _with_one_frame(series: Series, settings: IndexSettings) -> Series:
    """The slices of a PET or CT; one acquisition, or one frame of a dynamic or gated one, where settings want it."""
    role = role_of(series)
    if role not in ("ct", "pet"):
        return series
    series = slices_alone(series, role)
    if settings.several_acquisitions != "refuse":
        series = one_acquisition(series, settings.several_acquisitions, settings.acquisition_gap_minutes)
    if settings.repeated_frames != "refuse":
        series = one_frame(series, settings.repeated_frames)
    return series


def _rejection(series: Series, settings: IndexSettings, conflicts: Sequence[str]) -> str:
    """Why a series cannot be used; of files of one SOP Instance UID whose contents conflict one alone is left."""
    reason = _own_rejection(series, settings)
    if not reason or not conflicts:
        return reason
    return f"{_TWO_CONTENTS} ({_listed(conflicts)}), and one of each is left: {reason}"


def _own_rejection(series: Series, settings: IndexSettings) -> str:
    role = role_of(series)
    if len({instance.modality for instance in series.instances}) > 1:
        return "files of several modalities under one (0020,000E) Series Instance UID"
    if role in ("ct", "pet"):
        return exclusion_reason(
            series, role, settings.min_slices, settings.repeated_frames != "refuse"
        ) or several_acquisitions(series, settings.acquisition_gap_minutes, role == "pet")
    return "" if role else f"modality {series.first.modality or 'not given'} is not used"


def _require(role: str, candidates: Candidates, settings: IndexSettings) -> None:
    """Refuse a patient who lacks a series of a role that the settings ask for."""
    if role not in settings.modalities:
        return
    own = [s for s in candidates.series if role_of(s) == role]
    reasons = sorted({candidates.rejected[s.uid] for s in own if candidates.rejected[s.uid]})
    others = sorted({named_modality(s) for s in candidates.series})
    action = "mend what is named, or send a usable series" if reasons else "send the missing series"
    if role == "pet" and not own:
        action += "; without a PET there is no SUV, and no crop"
    error = DicomError(
        f"no usable {NAMES[role]} series" if own else f"there is no {NAMES[role]} series",
        where="series of the patient",
        expected=f"a {NAMES[role]} of at least {settings.min_slices} slices",
        got="; ".join(reasons) if reasons else "modalities " + ", ".join(others),
        action=action,
    )
    _add_missing(error, [s.first.path for s in candidates.series if role_of(s) == "pet"])
    raise error


def _add_missing(error: DicomError, pets: Sequence[Path]) -> None:
    """Name in a refusal what the first PET's headers lack, too."""
    # A file whose index headers are readable may be broken further on; then nothing is added.
    with quiet_reading():
        try:
            if pets:
                add_missing_values(
                    error, slice_header(dcmread(pets[0], stop_before_pixels=True, force=True)).series
                )
        except Exception as failure:
            raise_machine_failure(failure)
