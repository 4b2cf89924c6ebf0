"""Images that two rows of the cohort table call their own: one person would be trained on and predicted."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import TableError
from pipeline.settings.base import Policy
from pipeline.tables.status import PatientStatus, Status

IMAGE_MODALITIES = ("CT", "PT")


def find_duplicate_images(stages: Mapping[str, Sequence[Path]], policy: Policy) -> list[PatientStatus]:
    """Patients whose images are another patient's as well; it is not known which of them is right.

    Two rows may name copies of one folder, or one examination that was sent twice. They are recognised
    by the UID of a chosen CT or PET series (0020,000E), which DICOM gives to a single series in the
    world, and, whatever the source, by equal bytes of the finished crop's image.

    Args:
        stages: Patient id → what the stages left: folders with `series.json`, crop stores.
        policy: `exclude` all of them, or `stop`.

    Returns:
        The status `excluded` of each of them.

    Raises:
        TableError: There are some, and the policy is `stop`.
    """
    owners: dict[str, list[str]] = defaultdict(list)
    for patient_id, paths in stages.items():
        for fingerprint in sorted({fingerprint for path in paths for fingerprint in _fingerprints(path)}):
            owners[fingerprint].append(patient_id)
    others: dict[str, set[str]] = defaultdict(set)
    for patients in owners.values():
        for patient_id in patients if len(patients) > 1 else ():
            others[patient_id] |= {*patients} - {patient_id}
    if others and policy == "stop":
        first = sorted(others)[0]
        raise TableError(
            "two rows of the cohort table hold the same images",
            where=f"patients {', '.join(sorted({first, *others[first]}))}",
            expected="one row per person: otherwise a model is trained on a patient whom it is judged by",
            action="remove all but the right row, or set study.on_bad_patient: exclude to leave all of them out",
        )
    return [PatientStatus(patient_id, _exclusion(names)) for patient_id, names in others.items()]


def _exclusion(others: set[str]) -> Status:
    problem = f"the same images as patient {', '.join(sorted(others))}; expected: one row per person"
    return Status("excluded", "exclusions", problem, "excluded from the study")


def _fingerprints(path: Path) -> list[str]:
    """Values that the images of no two persons share."""
    if path.suffix == ".zarr":
        root = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
        checksum = root.get("attributes", {}).get("crop", {}).get("checksums", {}).get("image")
        return [checksum] if checksum else []
    index = path / "series.json"
    if path.suffix or not index.exists():
        return []
    rows = json.loads(index.read_text(encoding="utf-8"))["series"]
    return [row["series_uid"] for row in rows if row["chosen"] and row["modality"] in IMAGE_MODALITIES]
