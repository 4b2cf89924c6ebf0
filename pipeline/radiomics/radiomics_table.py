"""The rule `radiomics_table`: the feature table of the cohort."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.errors import TableError
from pipeline.tables.parquet import read_metadata, read_table, write_table


def gather_features(parquets: list[Path], out: Path) -> None:
    """Join the features of all patients into one table, with a row per patient with values.

    The metadata of the table holds the hash of the settings, how features were computed (`processing`), and the
    status of each patient by patient_id.

    Args:
        parquets: Feature tables of the patients.
        out: Parquet file, `features.parquet`.

    Raises:
        TableError: Tables were made with different settings or columns, or name a patient twice.
    """
    import pyarrow as pa

    tables = [read_table(path) for path in parquets]
    if not tables:
        raise TableError("there are no feature files to gather", where=out.name)
    metadata = [read_metadata(path) for path in parquets]
    _require_equal(parquets, [str(m.get(b"settings_hash")) for m in metadata], "settings")
    _require_equal(parquets, [",".join(table.column_names) for table in tables], "columns")
    statuses = {str(m[b"patient_id"]): m[b"status"] for m in metadata}
    if len(statuses) < len(tables):
        raise TableError("two feature files belong to one patient", where=out.name)
    joined = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    shared = {key: json.dumps(metadata[0][key]) for key in (b"settings_hash", b"processing")}
    about = {**shared, b"statuses": json.dumps(statuses)}
    write_table(out, joined.sort_by("patient_id").replace_schema_metadata(about))


def _require_equal(parquets: list[Path], values: list[str], what: str) -> None:
    for path, value in zip(parquets, values, strict=True):
        if value != values[0]:
            raise TableError(
                f"feature files were made with different {what}",
                where=f"{parquets[0].name} and {path.name}",
                action="run the radiomics rule again for all patients",
            )
