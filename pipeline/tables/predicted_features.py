"""Features on contours that a network predicted, and the guard against its training patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import TableError
from pipeline.tables.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("patient_id", "fold", "set")
"""Columns beside the features: `fold` is the one whose network drew the contour."""


def unseen_patients(splits: Splits, fold: int) -> dict[str, str]:
    """Patient id → set, of those that a fold's network has not seen: its test patients, and external ones.

    Validation patients are not among them: a network's weights may be chosen on them.
    """
    held = dict.fromkeys(splits.folds[fold].test, "test")
    return {**held, **dict.fromkeys(splits.external, "external")}


def check_unseen(rows: Mapping[str, str], splits: Splits, fold: int, where: str) -> None:
    """Refuse contours that a network drew on patients it has seen.

    What a network draws on its own training patients is too good, and a classical model that
    is fitted on it learns to trust it.

    Args:
        rows: Patient id → set, as the table or the network's predictions tell.
        splits: The study's folds.
        fold: Whose network it was.
        where: Names the table.

    Raises:
        TableError: A patient was not held out of this fold, or one that was is absent.
    """
    expected = unseen_patients(splits, fold)
    leaked = sorted(patient for patient, told in rows.items() if expected.get(patient) != told)
    if leaked:
        raise TableError(
            "contours come from a network that has seen the patients",
            where=where,
            expected=f"patients held out of fold {fold}, and external ones",
            got=", ".join(leaked[:5]),
            action="delete this file and run the same command again",
        )
    absent = sorted(set(expected) - set(rows))
    if absent:
        raise TableError(
            "patients held out of a fold have no predicted contour",
            where=where,
            got=", ".join(absent[:5]),
            action="train the network again (training.outputs must hold `masks`)",
        )


def read_predicted_features(paths: Sequence[Path], splits: Splits, fold: int) -> pd.DataFrame:
    """The feature table that one fold's classical model may see.

    Development patients: each with the contour of the fold that held it out. External
    patients: with that of the fold asked for, as every fold predicts them.

    Args:
        paths: A table per fold, in the folds' order: `patient_id`, `fold`, `set`, features.
        splits: The study's folds.
        fold: The classical model's.

    Returns:
        A row per patient, indexed by patient_id.

    Raises:
        TableError: A row's contour is that of a network that has seen the patient, the tables
            are not one per fold, or they have different columns.
    """
    import pandas as pd

    if len(paths) != len(splits.folds):
        raise TableError(
            "predicted contours need one feature table per fold",
            expected=str(len(splits.folds)),
            got=str(len(paths)),
        )
    parts: list[pd.DataFrame] = []
    for number, path in enumerate(paths):
        table = pd.read_parquet(path)
        if set(table["fold"]) - {number} or table["patient_id"].duplicated().any():
            raise TableError(
                "a table of predicted contours is not one fold's, a row per patient", where=str(path)
            )
        check_unseen(dict(zip(table["patient_id"], table["set"], strict=True)), splits, number, str(path))
        if parts and list(table.columns) != list(parts[0].columns):
            raise TableError("feature tables have different columns", where=str(path))
        parts.append(table if number == fold else table[table["set"] == "test"])
    joined = pd.concat(parts, ignore_index=True)
    return joined.drop(columns=["fold", "set"]).set_index("patient_id")


def contour_caveats(paths: Sequence[Path]) -> list[str]:
    """Caveats of models on these contours: those of the networks that drew them."""
    import json

    import pyarrow.parquet as pq

    found: dict[str, None] = {}
    for path in paths:
        told = (pq.read_schema(path).metadata or {}).get(b"caveats", b"[]")
        found.update(dict.fromkeys(f"contours: {caveat}" for caveat in json.loads(told)))
    return list(found)
