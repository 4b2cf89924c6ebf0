"""Tables of what was done to each patient: SUV, registration, problems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SUV_COLUMNS = {
    "scanner": "Scanner",
    "units": "Units",
    "decay_correction": "Decay",
    "path": "Path taken",
    "factor": "Factor",
    "uptake_minutes": "Uptake (min)",
    "suvmax": "SUVmax",
    "assumptions": "Assumptions",
    "flags": "Flags",
}
"""Entry of `suv.json` → title; the factor is in g/mL per stored unit."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where the file is absent."""
    if not path.is_file():
        return {}
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def suv_audit(results: Path) -> pd.DataFrame:
    """A row per patient with usable SUV: scanner, units, decay path, factor, flags.

    Flagged patients come first, then by patient_id.
    """
    import pandas as pd

    rows = []
    for path in sorted(results.glob("suv/*/suv.json")):
        record = read_json(path)
        row = {"Patient": path.parent.name}
        row.update({label: _plain(find(record, key)) for key, label in SUV_COLUMNS.items()})
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["Patient", *SUV_COLUMNS.values()])
    order = frame.assign(_ok=frame["Flags"].fillna("").eq("")).sort_values(["_ok", "Patient"])
    return order.drop(columns="_ok").reset_index(drop=True)


def find(record: Any, key: str) -> Any:
    """The first value of a key anywhere in nested objects."""
    if isinstance(record, dict):
        if key in record:
            return record[key]
        for value in record.values():
            found = find(value, key)
            if found is not None:
                return found
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "; ".join(str(v) for v in value)
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return value


def registration_quality(results: Path) -> pd.DataFrame:
    """A row per registered patient: rotation, translation, overlap, similarity."""
    import pandas as pd

    rows = []
    for path in sorted(results.glob("registration/*/quality.json")):
        record = {k: v for k, v in read_json(path).items() if isinstance(v, int | float | str | bool)}
        rows.append({"patient_id": path.parent.name, **record})
    return pd.DataFrame(rows)
