"""Which patients a shared decision (template, crop position) was made from.

The decision is made once. Patients who join later do not take part in it, so that their
arrival changes no other patient's results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def pinned_patients(pin: Path, candidates: Sequence[str]) -> list[str]:
    """Patients recorded in a pin that are still candidates; without a pin, all candidates."""
    if pin.is_file():
        recorded = set(json.loads(pin.read_text(encoding="utf-8"))["patients"])
        kept = [patient for patient in candidates if patient in recorded]
        if kept:
            return kept
    return list(candidates)


def write_pin(pin: Path, patients: Sequence[str]) -> None:
    """Record the patients a decision was made from."""
    pin.parent.mkdir(parents=True, exist_ok=True)
    pin.write_text(json.dumps({"patients": list(patients)}, indent=1) + "\n", encoding="utf-8")
