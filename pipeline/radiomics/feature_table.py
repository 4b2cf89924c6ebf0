"""Feature tables as parquet files, with metadata about how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.provenance import versions
from pipeline.radiomics.description import describe_features
from pipeline.radiomics.pet_metrics import PET_METRIC_COLUMNS
from pipeline.radiomics.sets import feature_columns, settings_hash
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.tables.parquet import write_table

PRESENT = "present"
"""1 where a patient has a class of the mask, else 0; its features are then missing."""
Row = Mapping[str, float | int | str]


def value_columns(feature_set: FeatureSet, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns of a table's values: those of the feature set, the PET metrics, and the same of each class."""
    whole = feature_columns(feature_set) + PET_METRIC_COLUMNS
    of_classes = (class_column(name, column) for name in classes for column in (PRESENT, *whole))
    return (*whole, *of_classes)


def class_column(mask_class: str, column: str) -> str:
    """Column of a feature of one class of the mask: `{class}_{feature}`."""
    return f"{mask_class}_{column}"


def write_feature_table(
    path: Path,
    rows: Sequence[Row],
    key_columns: Mapping[str, type],
    feature_set: FeatureSet,
    metadata: Mapping[bytes, Any],
    classes: Sequence[str] = (),
) -> None:
    """Write rows of features; the columns are the same for any number of rows, also for none.

    Args:
        path: Parquet file.
        rows: Values by column; a column that is absent from a row has a missing value.
        key_columns: Columns before the values, each with its type, `str` or `int`.
        feature_set: The feature set, whose columns and PET metrics are float64.
        metadata: Metadata of the schema; values are written as JSON.
        classes: Classes of the mask that have columns of their own.
    """
    import pyarrow as pa

    arrow = {str: pa.string(), int: pa.int64()}
    fields = [pa.field(name, arrow[kind]) for name, kind in key_columns.items()]
    fields += [pa.field(name, pa.float64()) for name in value_columns(feature_set, classes)]
    schema = pa.schema(fields, metadata={key: json.dumps(value) for key, value in metadata.items()})
    write_table(path, pa.Table.from_pylist([dict(row) for row in rows], schema=schema))


def table_metadata(feature_set: FeatureSet, settings: RadiomicsSettings, contour: str) -> dict[bytes, Any]:
    """Metadata about how the values of a table were computed.

    Args:
        feature_set: The feature set.
        settings: The study's radiomics section.
        contour: The region that the features come from, as text.
    """
    return {
        b"settings_hash": settings_hash(settings, feature_set, contour),
        b"feature_set": feature_set.title,
        b"processing": describe_features(feature_set, settings),
        b"contour": contour,
        b"versions": versions("pyradiomics", "numpy", "PyWavelets", "SimpleITK"),
    }
