"""Patients of classical models: outcomes, clinical columns, features."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.tables.outcomes import groups_of, read_outcomes
from pipeline.tables.parquet import read_frame
from pipeline.tables.splits import grouped_stratified_folds, groups_with_event

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
log = logging.getLogger(__name__)
DEEP_PREFIX = "deep_"
"""Prefix of deep features, in `deep_features.parquet` and as a classical model sees them."""


@dataclass(frozen=True)
class Patients:
    """n patients in one order.

    Attributes:
        table: Their rows of the cohort table (time_days, event, clinical_* …), indexed by id.
        features: (n, p) radiomics features in their own units, NaN where missing.
        names: (p,) their names.
    """

    table: pd.DataFrame
    features: Array
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def time(self) -> Array:
        """(n,) days to event or censoring."""
        return np.asarray(self.table["time_days"], dtype=float)

    @property
    def event(self) -> NDArray[np.bool_]:
        """(n,) whether the event occurred."""
        return np.asarray(self.table["event"] == 1)

    @property
    def group(self) -> NDArray[np.object_]:
        """(n,) group of each patient, which no split cuts; their own ids where the table has no groups."""
        return np.asarray(groups_of(self.table), dtype=object)

    @property
    def independent_events(self) -> int:
        """Number of groups with the event; without groups, of events."""
        return groups_with_event(self.event, self.group)

    def inner_folds(self, folds: int, seed: int) -> NDArray[np.int64]:
        """(n,) number of the inner fold of each patient, stratified by event; no fold cuts a group."""
        return grouped_stratified_folds(self.event, self.group, folds, seed)

    def pick(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Patients:
        """Patients at positions, or where a mask is true."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Patients(self.table.take(positions.tolist()), self.features[positions], self.names)

    def select(self, ids: Sequence[str]) -> Patients:
        """Patients by id.

        Raises:
            ModelError: A patient is unknown.
        """
        position = {str(p): i for i, p in enumerate(self.table.index)}
        unknown = [p for p in ids if p not in position]
        if unknown:
            raise ModelError(
                "the splits name patients that the cohort table lacks",
                got=", ".join(unknown[:5]),
                action="rerun `plan`",
            )
        return self.pick(np.array([position[p] for p in ids], dtype=np.int64))


def load_patients(outcomes: Path, features: Path | None) -> Patients:
    """Read the usable patients and their features.

    Args:
        outcomes: `cohort.parquet`.
        features: `features.parquet`; None for models that need none.

    Raises:
        ModelError: As :func:`with_features`.
    """

    table = read_outcomes(outcomes)
    if features is None:
        return Patients(table, np.empty((len(table), 0)), ())
    frame = read_frame(features)
    if "patient_id" in frame.columns:
        frame = frame.set_index("patient_id")
    return with_features(table, frame, str(features))


def with_features(table: pd.DataFrame, frame: pd.DataFrame, where: str) -> Patients:
    """Patients with their rows of a feature table.

    Infinite values count as missing, with a warning. Columns that are not numbers are refused.

    Args:
        table: Outcomes and clinical columns, as :func:`read_outcomes` gives them.
        frame: Features, indexed by patient_id.
        where: Names the feature table.

    Raises:
        ModelError: A patient has no row of features, or a column is not numeric.
    """
    absent = [str(p) for p in table.index if p not in frame.index]
    if absent:
        raise ModelError(
            "patients without radiomics features",
            where=where,
            expected="a row per patient of the cohort table",
            got=f"{len(absent)} absent: {', '.join(absent[:5])}",
            action="see why their features failed, or exclude them (study.on_bad_patient: exclude)",
        )
    frame = frame.loc[table.index]
    text = [str(c) for c in frame.columns if frame[c].dtype.kind not in "fiub"]
    if text:
        raise ModelError("features that are not numbers", where=where, got=", ".join(text[:5]))
    values = frame.to_numpy(dtype=float, copy=True)
    infinite = np.isinf(values)
    if infinite.any():
        log.warning("%d infinite feature values count as missing", int(infinite.sum()))
        values[infinite] = np.nan
    return Patients(table, values, tuple(str(c) for c in frame.columns))
