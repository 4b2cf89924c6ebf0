"""Outcomes and covariates of the usable patients, for later stages: `cohort.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.tables.cohort import Patient
from pipeline.tables.cohort_rows import levels_of
from pipeline.tables.numbers import MISSING
from pipeline.tables.parquet import read_frame

if TYPE_CHECKING:
    import pandas as pd


def outcome_table(patients: Sequence[Patient]) -> pd.DataFrame:
    """A row per patient, indexed by patient_id.

    Columns: set, centre, group (where the table has groups; a patient without one is a group alone),
    time_days (float64) and event (int64), neither of them in a study
    without outcomes, then the table's `clinical_*` (float64 where every entry is a number or
    missing, else text), `label_*`, `truth_*` and further endpoints. Blank entries are missing
    values; so are `NA` and similar words among numbers, and among the levels of a `clinical_*` column also
    `unknown`, `?` and the like (:func:`pipeline.tables.cohort_rows.levels_of`).
    """
    import pandas as pd

    frame = pd.DataFrame(
        {
            "patient_id": [p.patient_id for p in patients],
            "set": [p.set for p in patients],
            "centre": [p.centre for p in patients],
        }
    )
    if any(p.group for p in patients):
        frame["group"] = [p.group or p.patient_id for p in patients]
    if any(p.event is not None for p in patients):
        frame["time_days"] = pd.Series([p.time_days for p in patients], dtype="float64")
        frame["event"] = pd.Series([p.event for p in patients], dtype="int64")
    for name in patients[0].extra if patients else ():
        text = pd.Series([p.extra[name] or None for p in patients], dtype="object")
        numbers = pd.to_numeric(text, errors="coerce")
        words = text[numbers.isna() & text.notna()]
        # One `NA` must not turn all ages into text with as many levels as patients.
        known = numbers.notna().any() or not len(words)
        if known and words.str.lower().isin(MISSING).all():
            frame[name] = numbers.astype("float64")
        else:
            frame[name] = _without_missing_words(text) if name.startswith("clinical_") else text
    return frame.set_index("patient_id")


def _without_missing_words(text: pd.Series) -> pd.Series:
    """Levels of a column; a word for an unknown one would be a level that a model learns from."""
    import pandas as pd

    return pd.Series([level or None for level in levels_of(text.fillna(""))], dtype="object")


def read_outcomes(path: Path) -> pd.DataFrame:
    """Read the table of :func:`outcome_table` that the rule `plan` wrote."""
    return read_frame(path)


def groups_of(table: pd.DataFrame) -> pd.Series:
    """Group of each patient of a table of :func:`outcome_table`: its own id where there are no groups."""
    import pandas as pd

    return table["group"] if "group" in table else pd.Series(table.index, index=table.index)


def resampled_unit(table: pd.DataFrame) -> str:
    """What a bootstrap of a table of :func:`outcome_table` draws: patients, or whole groups of its rows."""
    return "whole groups of rows" if "group" in table else "patients"


def has_outcomes(table: pd.DataFrame) -> bool:
    """Whether a table of :func:`outcome_table` has times and events."""
    return "event" in table
