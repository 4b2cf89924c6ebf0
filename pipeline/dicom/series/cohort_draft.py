"""A cohort table drafted from a large tree of DICOM files: `suvival draft DICOM OUT`.

Outcomes are joined from another table by the DICOM Patient ID, or stay blank, to be filled in.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.dicom.header.rtstruct import read_roi_names
from pipeline.dicom.series.archives import Limits
from pipeline.dicom.series.instance import Instance
from pipeline.dicom.series.scan import scan_folder
from pipeline.errors import DicomError, printable
from pipeline.tables.cohort import PATIENT_ID
from pipeline.tables.drafts import beside, link_files, path_in_table, require_new, write_rows
from pipeline.tables.files import is_zip, list_files
from pipeline.tables.numbers import is_number
from pipeline.tables.outcome_join import JoinedOutcomes, OutcomeSource, join_outcomes

log = logging.getLogger(__name__)
# A dump of many patients, unpacked into a folder that goes again.
_DRAFT_LIMITS = Limits(unpacked_mib=1 << 20)
COLUMNS = ("patient_id", "set", "centre", "image_path", "roi", "time_days", "event")
NOTES = ("patient_id", "studies", "ct_series", "pet_series", "rtstructs", "segs", "note")


@dataclass(frozen=True)
class DraftPatient:
    """One patient of a tree of DICOM files.

    Attributes:
        patient_id: Running number, `P0001`, which says nothing about the person; or, on request, the DICOM
            Patient ID where it can name files.
        key: (0010,0020) *Patient ID*, written to the private key table only.
        files: DICOM files, or the archives that hold them.
        structures: Those of the files that are RTSTRUCTs.
        counts: Numbers of studies and of series of each kind.
        note: What to check before the patient is used.
    """

    patient_id: str
    key: str
    files: tuple[Path, ...]
    structures: tuple[Path, ...]
    counts: Mapping[str, int]
    note: str


@dataclass(frozen=True)
class Draft:
    """What was drafted.

    Attributes:
        patients: All patients of the tree, in the order of the table.
        outcomes: What was joined from a table of outcomes; None where none was given.
    """

    patients: tuple[DraftPatient, ...]
    outcomes: JoinedOutcomes | None = None


def draft_cohort(
    dicom: Path, out: Path, source: OutcomeSource | None = None, *, keep_ids: bool = False
) -> Draft:
    """Draft a cohort table from a tree of DICOM files; outcomes stay blank where no table gives them.

    Writes three files into one folder:
        - `out`: a row per patient with PET or CT, `set` development. A patient whose
          files share folders with those of others gets a folder of links, `{stem}.links/`.
        - `{stem}.notes.csv`: the series of each patient, and what to check (several studies, no
          PET, no CT, no contours).
        - `{stem}.key.csv`: patient_id ↔ DICOM Patient ID, readable by its owner only.

    Args:
        dicom: The tree of files; members of ZIP archives are read, too.
        out: The CSV to write; never overwritten.
        source: Table whose rows are joined by (0010,0020) *Patient ID*.
        keep_ids: Whether a Patient ID that can name files is the patient's id in the table, too.

    Raises:
        DicomError: There is no DICOM file with a Patient ID.
        TableError: `out` exists already (filled-in outcomes are never overwritten), or the table of
            outcomes cannot be joined.
    """
    require_new(out, "key.csv", "links")
    groups = _scan(dicom)
    names = _names(list(groups), keep_ids=keep_ids)
    patients = [_patient(names[key], key, scanned) for key, scanned in groups.items()]
    joined = None if source is None else join_outcomes(source, list(groups))
    out.parent.mkdir(parents=True, exist_ok=True)
    usable = [p for p in patients if p.counts["pet_series"] or p.counts["ct_series"]]
    owners = _owners(patients)
    columns = [*COLUMNS, *(name for name in (joined.columns if joined else ()) if name not in COLUMNS)]
    given = joined or JoinedOutcomes()
    write_rows(out, columns, (_row(p, _image_path(p, owners, out), given.of(p.key), columns) for p in usable))
    write_rows(
        beside(out, "notes.csv"),
        NOTES,
        ((p.patient_id, *(p.counts[name] for name in NOTES[1:-1]), p.note) for p in patients),
    )
    private = beside(out, "key.csv")
    private.touch(mode=0o600)
    write_rows(
        private, ("patient_id", "dicom_patient_id"), ((p.patient_id, _as_text(p.key)) for p in patients)
    )
    return Draft(tuple(patients), joined)


def _names(keys: Sequence[str], *, keep_ids: bool) -> dict[str, str]:
    """(0010,0020) *Patient ID* → the patient's id in the table.

    An id is kept where it can name files on any system, alone among ids that differ by case only, and
    is not one of the running numbers that the others get.
    """
    lower = Counter(key.lower() for key in keys)
    numbers = {key: f"P{n:04d}" for n, key in enumerate(keys, start=1)}
    taken = {number.lower() for number in numbers.values()}
    safe = {
        key for key in keys if PATIENT_ID.match(key) and lower[key.lower()] == 1 and key.lower() not in taken
    }
    return {key: key if keep_ids and key in safe else numbers[key] for key in keys}


def _row(
    patient: DraftPatient, image_path: str, given: Mapping[str, str], columns: Sequence[str]
) -> list[str]:
    """The patient's row: what another table gives, and `development` where it gives no set."""
    values = {name: text if is_number(text) else _as_text(text) for name, text in given.items()}
    values |= {"patient_id": patient.patient_id, "image_path": image_path}
    values["set"] = values.get("set") or "development"
    return [values.get(name, "") for name in columns]


def _as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (CWE-1236): `'` before what would begin one."""
    clean = printable(cell)
    return f"'{clean}" if clean.lstrip()[:1] in ("=", "+", "-", "@") else clean


@dataclass(frozen=True)
class ScannedFile:
    """The headers of one file.

    Attributes:
        path: The file, or the archive that it is a member of.
        instance: Its headers.
    """

    path: Path
    instance: Instance


def _scan(dicom: Path) -> dict[str, list[ScannedFile]]:
    """Files by Patient ID, in the order of their folders."""
    if not dicom.is_dir():
        raise DicomError("the DICOM folder does not exist", where=str(dicom), action="name a folder there is")
    root = dicom.absolute()
    archives = [path for path in list_files(root).files if is_zip(path)]
    groups: dict[str, list[ScannedFile]] = {}
    unnamed = 0
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder)
        scan = scan_folder(root, unpacked, _DRAFT_LIMITS, workers=os.cpu_count() or 1)
        for instance in scan.instances:
            path = instance.path
            if path.is_relative_to(unpacked):
                path = archives[int(path.relative_to(unpacked).parts[0])]
            if instance.patient_key:
                groups.setdefault(instance.patient_key, []).append(ScannedFile(path, instance))
            else:
                unnamed += 1
    if not groups:
        skipped = ", ".join(f"{n} {reason}" for reason, n in scan.skipped.items())
        raise DicomError(
            "no DICOM file with a Patient ID was found",
            where=f"{dicom}, (0010,0020) Patient ID",
            got=", ".join(filter(None, (f"{unnamed} without" if unnamed else "", skipped))) or "no files",
        )
    if unnamed:
        log.warning("%d files without (0010,0020) Patient ID were left out", unnamed)
    return dict(sorted(groups.items(), key=lambda group: str(min(file.path for file in group[1]))))


def _patient(patient_id: str, key: str, scanned: Sequence[ScannedFile]) -> DraftPatient:
    series: dict[str, set[str]] = {"CT": set(), "PT": set(), "RTSTRUCT": set(), "SEG": set()}
    studies: dict[str, set[str]] = {}
    instances = [file.instance for file in scanned]
    for instance in instances:
        if instance.modality in series:
            series[instance.modality].add(instance.series_uid)
            studies.setdefault(instance.study_uid, set()).add(instance.modality)
    counts = {
        "studies": len({instance.study_uid for instance in instances}),
        "ct_series": len(series["CT"]),
        "pet_series": len(series["PT"]),
        "rtstructs": len(series["RTSTRUCT"]),
        "segs": len(series["SEG"]),
    }
    complete = sum({"CT", "PT"} <= modalities for modalities in studies.values())
    files = tuple(sorted({file.path for file in scanned}))
    structures = tuple(file.path for file in scanned if file.instance.modality == "RTSTRUCT")
    return DraftPatient(patient_id, key, files, structures, counts, _note(counts, complete))


def _note(counts: Mapping[str, int], complete: int) -> str:
    """What to check before a patient is used.

    Args:
        counts: Numbers of studies and of series of each kind.
        complete: Number of studies with both PET and CT.
    """
    notes = []
    if not counts["pet_series"] and not counts["ct_series"]:
        notes.append("neither PET nor CT: not in the table")
    elif not counts["pet_series"]:
        notes.append("no PET")
    elif not counts["ct_series"]:
        notes.append("no CT")
    elif not complete:
        notes.append("PET and CT are in different studies")
    if complete > 1:
        notes.append(f"{complete} studies with PET and CT: keep one, or set index.several_studies")
    if not counts["rtstructs"] and not counts["segs"]:
        notes.append("no contours (neither RTSTRUCT nor DICOM SEG)")
    return "; ".join(notes)


def _owners(patients: Sequence[DraftPatient]) -> dict[Path, set[str]]:
    """The patients who have files in or below each folder; archives count as folders."""
    owners: dict[Path, set[str]] = {}
    for patient in patients:
        for file in patient.files:
            for place in (file, *file.parents):
                owners.setdefault(place, set()).add(patient.patient_id)
    return owners


def _image_path(patient: DraftPatient, owners: Mapping[Path, set[str]], out: Path) -> str:
    """The patient's own folder, or a folder of links where it holds files of others, too."""
    folder = patient.files[0] if len(patient.files) == 1 else Path(os.path.commonpath(patient.files))
    if folder.is_file() and not is_zip(folder):
        folder = folder.parent
    if owners[folder] == {patient.patient_id}:
        return path_in_table(folder)
    for file in patient.files:
        if len(owners[file]) > 1:
            raise DicomError(
                "an archive holds several patients",
                where=str(file),
                expected="files of one patient",
                action="unpack it first",
            )
    links = beside(out, "links") / patient.patient_id
    link_files(
        links, ((f"{n:06d}{file.suffix.lower()}", file) for n, file in enumerate(patient.files, start=1))
    )
    return path_in_table(links.absolute())


def roi_names(patients: Sequence[DraftPatient]) -> Counter[str]:
    """Number of patients who have an ROI of each name, for choosing `contours.roi`."""
    patients_by_name: Counter[str] = Counter()
    for patient in patients:
        names: set[str] = set()
        for path in patient.structures:
            names.update(read_roi_names(path))
        patients_by_name.update(names)
    return patients_by_name


def describe(draft: Draft, out: Path) -> str:
    """What was drafted and what to do next, as text for the terminal."""
    patients = draft.patients
    left_out = sum(not (p.counts["pet_series"] or p.counts["ct_series"]) for p in patients)
    lines = [f"{len(patients) - left_out} patients drafted in {out}"]
    if left_out:
        lines.append(f"{left_out} patients with neither PET nor CT were left out")
    for note, number in Counter(p.note for p in patients if p.note).most_common():
        lines.append(f"  {number} × {note}")
    names = roi_names(patients)
    if names:
        lines.append("ROI names: " + ", ".join(f"{name!r} ({n})" for name, n in names.most_common(20)))
    lines.append(f"each patient's series and notes: {beside(out, 'notes.csv')}")
    lines.append(
        f"which patient is which (private, keep it out of version control): {beside(out, 'key.csv')}"
    )
    lines += _describe_outcomes(draft)
    return "\n".join(lines)


def _describe_outcomes(draft: Draft) -> list[str]:
    """What was joined, who has no row and which rows nobody has; and what to do next."""
    joined = draft.outcomes
    if joined is None:
        return ["next: fill in time_days and event, and set external patients' set"]
    lines = [f"joined by DICOM Patient ID: {', '.join(joined.columns) or 'no column'}"]
    if lacking := [p.patient_id for p in draft.patients if not joined.of(p.key)]:
        lines.append(f"{len(lacking)} patients have no row in the table of outcomes: {_few(lacking)}")
    if joined.without_images:
        lines.append(f"{len(joined.without_images)} rows have no images: {_few(joined.without_images)}")
    if joined.unused:
        lines.append(f"columns that nothing was taken from (--take NAME=COLUMN): {', '.join(joined.unused)}")
    wanted = [name for name in ("time_days", "event") if name not in joined.columns]
    return [
        *lines,
        f"next: {f'fill in {chr(32).join(wanted)}, and ' if wanted else ''}set external patients' set",
    ]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:5]))
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
