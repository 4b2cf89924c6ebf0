"""The cohort's feature table."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.errors import TableError
from pipeline.radiomics.feature_row import read_metadata


def gather_features(parquets: list[Path], out: Path) -> None:
    """Join patients' features into one table (`features.parquet`), a row per patient with values.

    Args:
        parquets: Of the patients' stage.
        out: Parquet file.

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
    _require_one(parquets, [str(m.get(b"settings_hash")) for m in metadata], "settings")
    _require_one(parquets, [",".join(table.column_names) for table in tables], "columns")
    statuses = {str(m[b"patient_id"]): m[b"status"] for m in metadata}
    if len(statuses) < len(tables):
        raise TableError("two feature files belong to one patient", where=out.name)
    kept = {b"settings_hash": json.dumps(metadata[0][b"settings_hash"]), b"statuses": json.dumps(statuses)}
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
