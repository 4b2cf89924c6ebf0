"""Parquet tables of the pipeline: written whole, with checksums of their pages, which readers compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tables.failures import own_result
from pipeline.tables.whole import whole_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

EXPECTED = "a whole Parquet file whose pages match their checksums"


def write_frame(path: Path, frame: pd.DataFrame, *, index: bool = False) -> None:
    """Write a data frame.

    Args:
        path: The file.
        frame: The table.
        index: Whether its index is written, too.
    """
    with whole_file(path) as partial:
        frame.to_parquet(partial, index=index, write_page_checksum=True)


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow table with its schema's metadata."""
    import pyarrow.parquet as pq

    with whole_file(path) as partial:
        pq.write_table(table, partial, write_page_checksum=True)


def read_frame(path: Path) -> pd.DataFrame:
    """Read a data frame.

    Raises:
        DamageError: The file is missing, cut or changed.
        MachineError: It cannot be read.
    """
    import pandas as pd

    with own_result(path, EXPECTED):
        return pd.read_parquet(path, page_checksum_verification=True)


def read_table(path: Path) -> pa.Table:
    """Read an Arrow table with its schema's metadata.

    Raises:
        DamageError: The file is missing, cut or changed.
        MachineError: It cannot be read.
    """
    import pyarrow.parquet as pq

    with own_result(path, EXPECTED):
        return pq.read_table(path, page_checksum_verification=True)


def read_metadata(path: Path) -> dict[bytes, Any]:
    """The metadata of a table's schema, without Arrow's own: JSON values by key.

    Raises:
        DamageError: The file is missing, cut or changed.
        MachineError: It cannot be read.
    """
    import json

    import pyarrow.parquet as pq

    with own_result(path, EXPECTED):
        metadata = pq.read_schema(path).metadata or {}
        own = {key: value for key, value in metadata.items() if not key.startswith((b"ARROW", b"pandas"))}
        return {key: json.loads(value) for key, value in own.items()}
