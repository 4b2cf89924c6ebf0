"""Parquet tables of the pipeline: written whole, with checksums of their pages, which readers compare."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tables.failures import damage, own_result
from pipeline.tables.whole import whole_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

EXPECTED = "a whole Parquet file whose pages and columns match their checksums"
# Pages carry checksums of their own; names of columns and metadata, which have none, are covered by this.
PROOF = b"sha256_of_schema"


def write_frame(path: Path, frame: pd.DataFrame, *, index: bool = False) -> None:
    """Write a data frame.

    Args:
        path: The file.
        frame: The table.
        index: Whether its index is written, too.
    """
    import pyarrow as pa

    # None keeps a plain range as a range; otherwise the index is a column.
    write_table(path, pa.Table.from_pandas(frame, preserve_index=None if index else False))


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow table with its schema's metadata."""
    import pyarrow.parquet as pq

    proof = {PROOF: _schema_digest(table.schema)}
    with whole_file(path) as partial:
        proved = table.replace_schema_metadata({**(table.schema.metadata or {}), **proof})
        pq.write_table(proved, partial, write_page_checksum=True)


def read_frame(path: Path) -> pd.DataFrame:
    """Read a data frame.

    Raises:
        DamageError: The file is missing, cut or changed.
        MachineError: It cannot be read.
    """
    table = read_table(path)
    with own_result(path, EXPECTED):
        return table.to_pandas()


def read_table(path: Path) -> pa.Table:
    """Read an Arrow table with its schema's metadata.

    Raises:
        DamageError: The file is missing, cut or changed.
        MachineError: It cannot be read.
    """
    import pyarrow.parquet as pq

    with own_result(path, EXPECTED):
        table = pq.read_table(path, page_checksum_verification=True)
        _require_schema(table.schema, path)
        return table


def read_metadata(path: Path) -> dict[bytes, Any]:
    """The metadata of a table's schema, without Arrow's own: JSON values by key.

    Raises:
        DamageError: The file is missing, cut or changed.
        MachineError: It cannot be read.
    """
    import pyarrow.parquet as pq

    with own_result(path, EXPECTED):
        schema = pq.read_schema(path)
        _require_schema(schema, path)
        return {
            key: json.loads(value) for key, value in (schema.metadata or {}).items() if key not in _NOT_OURS
        }


_NOT_OURS = (PROOF, b"pandas", b"ARROW:schema")


def _schema_digest(schema: pa.Schema) -> bytes:
    """SHA-256 of the names of the columns and of the metadata."""
    metadata = {
        key: value for key, value in (schema.metadata or {}).items() if key not in (PROOF, b"ARROW:schema")
    }
    parts = [
        *(name.encode() for name in schema.names),
        *(part for item in sorted(metadata.items()) for part in item),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest().encode()


def _require_schema(schema: pa.Schema, path: Path) -> None:
    stated = (schema.metadata or {}).get(PROOF)
    if stated is not None and stated != _schema_digest(schema):
        raise damage(path, "names of columns and metadata as they were written", "others")
