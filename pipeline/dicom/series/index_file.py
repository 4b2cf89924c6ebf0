"""The index of one patient as a file: a row per series, which ones were chosen, and their files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.errors import DicomError
from pipeline.tables.failures import own_result

FILE = "series.json"
UNPACKED = "@index/"
Role = Literal["ct", "pet", "rtstruct", "seg", ""]
"""What a series is to the pipeline; empty: nothing it uses."""
PetToCt = Literal["same_frame", "accepted", "register", "alone"]
"""How PET and CT are aligned: they share (0020,0052); a setting says that they are aligned; the
PET must be registered to the CT; only one of the two is used."""


@dataclass(frozen=True)
class SeriesGeometry:
    """Grid of a series as its headers give it; empty tuples where they give none.

    Attributes:
        shape: Images along the normal, rows, columns (z, y, x).
        spacing_mm: Distance of neighbours (z, y, x); z is the median gap.
        orientation: (0020,0037) Image Orientation (Patient), six direction cosines.
    """

    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    orientation: tuple[float, ...] = ()


@dataclass(frozen=True)
class SeriesRow:
    """One series of a patient.

    Attributes:
        modality: (0008,0060) Modality.
        series_uid: (0020,000E); it is written into the index folder only.
        study_uid: (0020,000D).
        frame_of_reference_uid: (0020,0052); of an RTSTRUCT the one its contours are drawn in.
        description: (0008,103E) Series Description.
        instances: Files, duplicates not counted.
        geometry: Shape, spacing and orientation.
        role: What the series is to the pipeline.
        chosen: Whether the pipeline reads it.
        reason: Why it was chosen, or why not.
        references: Series that an RTSTRUCT or a SEG says it belongs to.
    """

    modality: str
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    description: str
    instances: int
    geometry: SeriesGeometry
    role: Role
    chosen: bool
    reason: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Index:
    """The series of one patient.

    Attributes:
        patient_id: The cohort table's name for the patient.
        folder: Folder that was scanned.
        series: All series found.
        files: By series UID, the files in order along the image normal.
        skipped: Files passed over, by reason.
        pet_to_ct: How the chosen PET and CT are aligned.
        sop_uids: By series UID, (0008,0018) of the instances in `files`.
        left_out_uids: (0008,0018) of instances that are in no series' `files`: other acquisitions or frames of a
            series of which one is used.
        depths_mm: By series UID, where the planes of each instance in `files` lie along the normal of the first,
            (0020,0032); only of series with geometry.
    """

    patient_id: str
    folder: Path
    series: tuple[SeriesRow, ...]
    files: dict[str, tuple[Path, ...]]
    skipped: dict[str, int] = field(default_factory=dict)
    pet_to_ct: PetToCt = "same_frame"
    sop_uids: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out_uids: tuple[str, ...] = ()
    depths_mm: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)

    def unused_sop_uids(self) -> frozenset[str]:
        """(0008,0018) of all instances that the chosen PET and CT do not hold."""
        images = {row.series_uid for row in (*of_role(self, "ct"), *of_role(self, "pet"))}
        others = (uids for series, uids in self.sop_uids.items() if series not in images)
        in_use = (self.sop_uids.get(series, ()) for series in images)
        return frozenset(self.left_out_uids).union(*others).difference(*in_use)


def of_role(index: Index, role: Role) -> tuple[SeriesRow, ...]:
    """All chosen series of a role; there may be several `rtstruct` and `seg`."""
    return tuple(row for row in index.series if row.role == role and row.chosen)


def find_chosen(index: Index, role: Role) -> SeriesRow | None:
    """The chosen series of a role, or None where there is none."""
    rows = of_role(index, role)
    return rows[0] if rows else None


def chosen(index: Index, role: Role) -> SeriesRow:
    """The chosen series of a role.

    Raises:
        DicomError: There is none.
    """
    row = find_chosen(index, role)
    if row is None:
        raise DicomError(
            f"no {role} series was chosen",
            where=f"index of patient {index.patient_id}",
            got=", ".join(sorted({r.modality for r in index.series})) or "no series",
            action="see the reasons in series.json",
        )
    return row


def files_of(index: Index, row: SeriesRow) -> tuple[Path, ...]:
    """Files of a series, in order along the image normal."""
    return index.files[row.series_uid]


def write_index(folder: Path, index: Index) -> None:
    """Write `series.json`; paths relative to the scanned folder, unpacked ones to the index."""
    files = {uid: [_relative(p, index.folder, folder) for p in paths] for uid, paths in index.files.items()}
    content = {
        "patient_id": index.patient_id,
        "folder": str(index.folder),
        "series": [asdict(row) for row in index.series],
        "files": files,
        "skipped": index.skipped,
        "pet_to_ct": index.pet_to_ct,
        "sop_uids": index.sop_uids,
        "left_out_uids": index.left_out_uids,
        "depths_mm": index.depths_mm,
    }
    (folder / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_index(folder: Path) -> Index:
    """Read the index that `index_patient` left in a folder.

    Raises:
        DamageError: There is no index, or it is incomplete.
    """
    path = folder / FILE
    with own_result(path, "JSON with the patient's series"):
        content = json.loads(path.read_text(encoding="utf-8"))
        root = Path(content["folder"])
        return Index(
            patient_id=content["patient_id"],
            folder=root,
            series=tuple(_row(entry) for entry in content["series"]),
            files={
                uid: tuple(_absolute(p, root, folder) for p in paths)
                for uid, paths in content["files"].items()
            },
            skipped=content["skipped"],
            pet_to_ct=content["pet_to_ct"],
            sop_uids={uid: tuple(uids) for uid, uids in content["sop_uids"].items()},
            left_out_uids=tuple(content["left_out_uids"]),
            depths_mm={uid: tuple(map(tuple, depths)) for uid, depths in content["depths_mm"].items()},
        )


def _row(entry: dict) -> SeriesRow:
    geometry = SeriesGeometry(**{key: tuple(value) for key, value in entry["geometry"].items()})
    return SeriesRow(**{**entry, "geometry": geometry, "references": tuple(entry["references"])})


def _relative(path: Path, folder: Path, index_folder: Path) -> str:
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return UNPACKED + path.relative_to(index_folder.absolute()).as_posix()


def _absolute(text: str, folder: Path, index_folder: Path) -> Path:
    if text.startswith(UNPACKED):
        return index_folder / text.removeprefix(UNPACKED)
    return folder / text
