"""The patients that a shared decision (template, crop position) was made from.

The decision is made once. Patients who join later do not take part in it, so that their
arrival does not change the results of other patients.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.as_planned import require_as_planned
from pipeline.tables.whole import write_text


def frozen_patients(path: Path, candidates: Sequence[str]) -> list[str]:
    """Candidates that take part in a decision: those it was made from, all where it has not been made.

    Args:
        path: File of :func:`freeze_patients`, which need not exist.
        candidates: Patients of the cohort table, in its order.

    Returns:
        The candidates that the file names; all candidates where it names none of them.
    """
    if path.is_file():
        recorded = set(json.loads(path.read_text(encoding="utf-8"))["patients"])
        remaining = [patient for patient in candidates if patient in recorded]
        if remaining:
            return remaining
    return list(candidates)


def freeze_patients(path: Path, patients: Sequence[str]) -> None:
    """Record the patients that a decision was made from."""
    require_as_planned()  # The file outlives a job that fails.
    write_text(path, json.dumps({"patients": list(patients)}, indent=1) + "\n")
