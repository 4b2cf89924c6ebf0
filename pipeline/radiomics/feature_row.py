"""A patient's features as a parquet file of one row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FeatureRow:
    """A patient's values by column; None where the patient has none."""

    patient_id: str
    values: Mapping[str, float] | None


def write_row(path: Path, row: FeatureRow, columns: tuple[str, ...], metadata: Mapping[bytes, Any]) -> None:
    """Write a patient's features: one row, or none where there are no values.

    Columns are `patient_id` (text) and the feature columns (float64), the same for patients
    with and without values.

    Args:
        path: Parquet file.
        row: Of the patient.
        columns: Feature columns in order.
        metadata: Goes into the schema with the patient_id: the key, and a value written as JSON.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field("patient_id", pa.string()), *(pa.field(c, pa.float64()) for c in columns)]
    told = {**metadata, b"patient_id": row.patient_id}
    schema = pa.schema(fields, metadata={key: json.dumps(value) for key, value in told.items()})
    rows = [{"patient_id": row.patient_id, **row.values}] if row.values is not None else []
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def read_metadata(path: Path) -> dict[bytes, Any]:
    """A feature file's own metadata, parsed (status, settings hash, …)."""
    import pyarrow.parquet as pq

    found = pq.read_schema(path).metadata or {}
    return {key: json.loads(value) for key, value in found.items() if not key.startswith(b"ARROW")}
