"""Images that two rows of the cohort table call their own: one person, trained on and judged."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import TableError
from pipeline.settings.base import Policy
from pipeline.tables.status import Status

IMAGES = ("CT", "PT")


def find_duplicate_images(stages: Mapping[str, Sequence[Path]], policy: Policy) -> list[tuple[str, Status]]:
    """Patients whose images are another patient's as well; which of them is right is not known.

    Two rows may name copies of one folder, or one examination sent twice. Told by the UID of a chosen
    CT or PET series (0020,000E), which DICOM gives to one series in the world, and, whatever
    the source, by equal bytes of the finished crop's image.

    Args:
        stages: Patient id → what the stages left: folders with `series.json`, crop stores.
        policy: `exclude` all of them, or `stop`.

    Returns:
        (patient id, status `excluded`) of each.

    Raises:
        TableError: There are some, and the policy is `stop`.
    """
    owners: dict[str, list[str]] = defaultdict(list)
    for patient_id, paths in stages.items():
        for mark in sorted({mark for path in paths for mark in _marks(path)}):
            owners[mark].append(patient_id)
    others: dict[str, set[str]] = defaultdict(set)
    for patients in owners.values():
        for patient_id in patients if len(patients) > 1 else ():
            others[patient_id] |= {*patients} - {patient_id}
    if others and policy == "stop":
        first = sorted(others)[0]
        raise TableError(
            "two rows of the cohort table hold the same images",
            where=f"patients {', '.join(sorted({first, *others[first]}))}",
            expected="one row per person: a copy would be trained on and judged",
            action="remove all but the right row, or set study.on_bad_patient: exclude to leave all of them out",
        )
    return [(patient_id, _told(names)) for patient_id, names in others.items()]


def _told(names: set[str]) -> Status:
    problem = f"the same images as patient {', '.join(sorted(names))}; expected: one row per person"
    return Status("excluded", "problems", problem, "excluded from the study")


def _marks(path: Path) -> list[str]:
    """What no two persons' images share."""
    if path.suffix == ".zarr":
        root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
        checksum = root.get("attributes", {}).get("crop", {}).get("checksums", {}).get("image")
        return [checksum] if checksum else []
    listed = path / "series.json"
    if path.suffix or not listed.exists():
        return []
    rows = json.loads(listed.read_text(encoding="utf-8"))["series"]
    return [row["series_uid"] for row in rows if row["chosen"] and row["modality"] in IMAGES]
