"""A cohort table and a study file drafted from a public release: `suvival draft --layout LAYOUT DATA OUT`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import TableError
from pipeline.releases.hecktor import read_hecktor2021, read_hecktor2022, read_hecktor_by_patient
from pipeline.releases.release import Release, ReleasedPatient
from pipeline.releases.slices import read_slices
from pipeline.releases.tcia_hnpetct import read_tcia_hnpetct
from pipeline.settings.shipped import shipped
from pipeline.tables.drafts import beside, link_files, path_in_table, require_new, write_rows

FIRST = ("patient_id", "set", "centre", "image_path", "roi", "time_days", "event")
BOXES = ("patient_id", "x1", "x2", "y1", "y2", "z1", "z2")
UNITS = ("", "days", "months")
STUDY_NAME = re.compile(r"^[a-z][a-z0-9_-]{1,39}$")
"""What `study.name` may be."""


@dataclass(frozen=True)
class ReleaseLayout:
    """A kind of release.

    Attributes:
        description: What it is, in one line.
        read: Reads the folder that it was unpacked into, given the declared unit of its times
            (empty: none declared).
    """

    description: str
    read: Callable[[Path, str], Release]


LAYOUTS: dict[str, ReleaseLayout] = {
    "hecktor2021": ReleaseLayout("HECKTOR 2021: hecktor_nii/{id}_ct.nii.gz, boxes", read_hecktor2021),
    "hecktor2022": ReleaseLayout("HECKTOR 2022: imagesTr/{id}__CT.nii.gz, labelsTr", read_hecktor2022),
    "hecktor2025": ReleaseLayout("HECKTOR 2025: {id}/{id}__CT.nii.gz, one CSV", read_hecktor_by_patient),
    "hecktor2026": ReleaseLayout("HECKTOR 2026: as 2025", read_hecktor_by_patient),
    "slices": ReleaseLayout("2D slices: parallel folders of images and masks, a CSV of volumes", read_slices),
    "tcia_hnpetct": ReleaseLayout("TCIA Head-Neck-PET-CT: HN-*/ with DICOM, workbooks", read_tcia_hnpetct),
}
"""Name of a layout → how it is read. A new one is a function in this folder and a row here."""


@dataclass(frozen=True)
class DraftedFiles:
    """What was written.

    Attributes:
        table: The cohort table.
        study: The study file.
        notes: Why patients were left out, and what to look at.
    """

    table: Path
    study: Path
    notes: Path


def draft_release(layout: str, data: Path, out: Path, time_unit: str = "") -> tuple[Release, DraftedFiles]:
    """Read a release and write its cohort table and study file.

    Writes into one folder:
        - `out`: a row per usable patient, all of them `development`.
        - `{stem}.yaml`: the study, made from the layout's base study.
        - `{stem}.notes.csv`: who was left out, and why.
        - `{stem}.boxes.csv`: boxes of the crops, where the release has them.
        - `{stem}.links/`: folders of links, where the files of all patients lie in one folder.

    Args:
        layout: Name of the layout.
        data: The folder that the release was unpacked into.
        out: The CSV to write; never overwritten.
        time_unit: Unit of the release's times, `days` or `months`; empty: days, if that can be.

    Raises:
        TableError: The layout is unknown, the release cannot be read as it, or a file exists already.
    """
    if layout not in LAYOUTS:
        raise TableError("there is no such layout", where="--layout", expected=", ".join(LAYOUTS), got=layout)
    if time_unit not in UNITS:
        raise TableError(
            "there is no such unit", where="--time-unit", expected="days or months", got=time_unit
        )
    if not data.is_dir():
        raise TableError(
            "the release's folder does not exist",
            where=str(data),
            action="give the folder that it was unpacked into",
        )
    require_new(out, "yaml", "boxes.csv", "links")
    release = LAYOUTS[layout].read(data.absolute(), time_unit)
    out.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for p in release.patients for name in p.columns))
    header = [*FIRST, *sorted(name for name in columns if name not in FIRST)]
    header = [name for name in header if name in columns or name not in ("centre", "time_days", "event")]
    image_root = _image_root(release, data, out)
    write_rows(out, header, _rows(release, header, image_root, out))
    notes = beside(out, "notes.csv")
    noted = [(p.patient_id, "used", p.note) for p in release.patients if p.note]
    left_out = [(patient_id, "left out", reason) for patient_id, reason in release.left_out.items()]
    write_rows(notes, ("patient_id", "state", "note"), sorted([*noted, *left_out]))
    boxes = _write_boxes(release, out)
    study = beside(out, "yaml")
    text = study_text(release, layout, out, image_root, boxes)
    study.write_text(text, encoding="utf-8")
    return release, DraftedFiles(out, study, notes)


def _image_root(release: Release, data: Path, out: Path) -> Path:
    """The folder that the table's paths start from: the release's, or that of the links."""
    linked = any(isinstance(patient.images, tuple) for patient in release.patients)
    return beside(out, "links").absolute() if linked else data.absolute()


def _rows(release: Release, header: Sequence[str], root: Path, out: Path) -> Iterator[list[str]]:
    for patient in release.patients:
        values = {
            **patient.columns,
            "patient_id": patient.patient_id,
            "set": patient.columns.get("set", "development"),
            "image_path": _image_path(patient, root, out),
            "roi": patient.roi,
        }
        yield [values.get(name, "") for name in header]


def _image_path(patient: ReleasedPatient, root: Path, out: Path) -> str:
    """The patient's folder (or file) below the root; one of links is made where it is shared."""
    if isinstance(patient.images, Path):
        return patient.images.absolute().relative_to(root).as_posix()
    links = beside(out, "links") / patient.patient_id
    link_files(links, ((path.name, path) for path in patient.images))
    return patient.patient_id


def _write_boxes(release: Release, out: Path) -> Path | None:
    """The table of boxes; None where the release has none."""
    rows = [(p.patient_id, *p.box) for p in release.patients if p.box is not None]
    if not rows:
        return None
    boxes = beside(out, "boxes.csv")
    write_rows(boxes, BOXES, rows)
    return boxes


def study_text(release: Release, layout: str, out: Path, image_root: Path, boxes: Path | None) -> str:
    """The study file as YAML: the base study, changed as the release and its places demand.

    Args:
        release: The release.
        layout: Name of its layout.
        out: Its cohort table.
        image_root: The folder that the table's paths start from.
        boxes: Its table of boxes; None where it has none.
    """
    path = shipped("studies") / f"{release.base}.yaml"
    study: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    name = re.sub(r"[^a-z0-9_-]", "_", out.stem.lower())
    if not STUDY_NAME.match(name):
        name = layout
    places: dict[str, Any] = {
        "study": {"name": name},
        "cohort": {"table": path_in_table(out.absolute()), "image_root": path_in_table(image_root)},
    }
    if boxes is not None:
        places["crop"] = {"boxes": path_in_table(boxes.absolute())}
    changed = merged(merged(study, release.changes), places)
    head = (
        f"# Drafted by suvival draft --layout {layout}; the reasons stand in config/studies/{release.base}.yaml.\n"
        f"# Check: .venv/bin/snakemake -n --configfile {path_in_table(beside(out, 'yaml').absolute())}\n"
    )
    return head + yaml.safe_dump(changed, sort_keys=False, allow_unicode=True, width=110)


def merged(study: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A study with changes, nested groups merged key by key; a change of None removes a key."""
    result = dict(study)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = merged(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def describe(release: Release, files: DraftedFiles) -> str:
    """What was drafted, who was left out, and what to do next, as text for the terminal."""
    events = [p.columns["event"] for p in release.patients if "event" in p.columns]
    outcomes = f", {events.count('1')} events" if events else ", no outcomes"
    lines = [f"{len(release.patients)} patients{outcomes}: {files.table}"]
    if release.left_out:
        lines.append(f"{len(release.left_out)} patients were left out:")
    for reason, number in Counter(release.left_out.values()).most_common(10):
        lines.append(f"  {number} × {reason}")
    for note, number in Counter(p.note for p in release.patients if p.note).most_common(10):
        lines.append(f"used, but look at: {number} × {note}")
    if release.unused_columns:
        lines.append("columns that nothing was taken from: " + ", ".join(release.unused_columns))
    lines.append(f"each of them by name: {files.notes}")
    lines.append(f"next: snakemake -n --configfile {files.study}")
    return "\n".join(lines)
