"""Features on contours that a network predicted, of patients that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import TableError
from pipeline.tables.parquet import read_frame
from pipeline.tables.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("patient_id", "fold", "set")
"""Columns beside the features; `fold` is the fold whose network predicted the contour."""


def unseen_patients(splits: Splits, fold: int) -> dict[str, str]:
    """Patient id → set, of the patients that a fold's network has not seen: test and external ones.

    Validation patients are not among them: a network's weights may be chosen on them.
    """
    return {**dict.fromkeys(splits.folds[fold].test, "test"), **dict.fromkeys(splits.external, "external")}


def check_unseen(rows: Mapping[str, str], splits: Splits, fold: int, where: str) -> None:
    """Refuse contours that a network predicted for patients it has seen.

    Contours of a network's own training patients are better than those of new patients, and a
    classical model that is fitted on them relies on them too much.

    Args:
        rows: Patient id → set, according to the table or the network's predictions.
        splits: The study's folds.
        fold: The fold whose network it is.
        where: Name of the table for messages.

    Raises:
        TableError: A patient is no test or external patient of this fold, or one of these is absent.
    """
    expected = unseen_patients(splits, fold)
    leaked = sorted(patient for patient, which in rows.items() if expected.get(patient) != which)
    if leaked:
        raise TableError(
            "contours come from a network that has seen the patients",
            where=where,
            expected=f"test patients of fold {fold}, and external patients",
            got=", ".join(leaked[:5]),
            action="delete this file and run the same command again",
        )
    absent = sorted(set(expected) - set(rows))
    if absent:
        raise TableError(
            "test patients of a fold have no predicted contour",
            where=where,
            got=", ".join(absent[:5]),
            action="train the network again (training.outputs must hold `masks`)",
        )


def read_predicted_features(paths: Sequence[Path], splits: Splits, fold: int) -> pd.DataFrame:
    """The feature table of one fold's classical model.

    Each development patient has the contour of the fold that tests it, each external patient that
    of the fold asked for, since every fold predicts them.

    Args:
        paths: A table per fold, in the folds' order: `patient_id`, `fold`, `set`, features.
        splits: The study's folds.
        fold: The classical model's fold.

    Returns:
        A row per patient, indexed by patient_id.

    Raises:
        TableError: A contour comes from a network that has seen the patient, there is not one
            table per fold, or the tables have different columns.
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
        table = read_frame(path)
        if set(table["fold"]) - {number} or table["patient_id"].duplicated().any():
            raise TableError(
                "a table of predicted contours does not hold one row per patient of one fold",
                where=str(path),
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

    caveats: dict[str, None] = {}
    for path in paths:
        stored = (pq.read_schema(path).metadata or {}).get(b"caveats", b"[]")
        caveats.update(dict.fromkeys(f"contours: {caveat}" for caveat in json.loads(stored)))
    return list(caveats)
