"""A patient's features as a parquet file of one row, and the cohort's table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import TableError

STATUS, SETTINGS = b"status", b"settings_hash"


def write_row(
    path: Path,
    patient_id: str,
    values: Mapping[str, float] | None,
    columns: tuple[str, ...],
    metadata: Mapping[bytes, Any],
) -> None:
    """Write a patient's features: one row, or none where there are no values.

    Columns are `patient_id` (text) and the feature columns (float64), the same for patients
    with and without values.

    Args:
        path: Parquet file.
        patient_id: Whose.
        values: By column; None: no row.
        columns: Feature columns in order.
        metadata: Goes into the schema: the key, and a value written as JSON.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field("patient_id", pa.string()), *(pa.field(c, pa.float64()) for c in columns)]
    schema = pa.schema(fields, metadata={key: json.dumps(value) for key, value in metadata.items()})
    rows = [{"patient_id": patient_id, **values}] if values is not None else []
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def read_metadata(path: Path) -> dict[bytes, Any]:
    """A feature file's own metadata, parsed (status, settings hash, …)."""
    import pyarrow.parquet as pq

    found = pq.read_schema(path).metadata or {}
    return {key: json.loads(value) for key, value in found.items() if not key.startswith(b"ARROW")}


def gather_features(parquets: list[Path], out: Path) -> None:
    """Join patients' features into one table (`features.parquet`), a row per patient with values.

    The table's metadata holds the settings' hash and each patient's status by patient_id.

    Raises:
        TableError: Files were made with different settings or columns, or name a patient twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(path) for path in parquets]
    if not tables:
        raise TableError("there are no feature files to gather", where=out.name)
    metadata = [read_metadata(path) for path in parquets]
    _require_one(parquets, [str(m.get(SETTINGS)) for m in metadata], "settings")
    _require_one(parquets, [",".join(table.column_names) for table in tables], "columns")
    statuses = {str(m[b"patient_id"]): m[STATUS] for m in metadata}
    if len(statuses) < len(tables):
        raise TableError("two feature files belong to one patient", where=out.name)
    kept = {SETTINGS: json.dumps(metadata[0][SETTINGS]), b"statuses": json.dumps(statuses)}
    joined = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(joined.sort_by("patient_id").replace_schema_metadata(kept), out)


def _require_one(parquets: list[Path], values: list[str], what: str) -> None:
    for path, value in zip(parquets, values, strict=True):
        if value != values[0]:
            raise TableError(
                f"feature files were made with different {what}",
                where=f"{parquets[0].name} and {path.name}",
                action="run the radiomics rule again for all patients",
            )
