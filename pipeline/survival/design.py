"""The design matrix: imputation, scaling and filters learned from training patients only."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.survival.patients import Patients
from pipeline.tables.clinical import ClinicalEncoder

Array = NDArray[np.float64]
MOST_MISSING = 0.5
"""A feature that is missing in a larger share of training patients is not offered."""


@dataclass(frozen=True)
class Scaler:
    """Median imputation, then (x − mean) / SD, of named features.

    Attributes:
        columns: (k,) positions of the features in the patients' table.
        names: (k,) their names.
        median: (k,) of training patients.
        mean: (k,) after imputation.
        deviation: (k,) SD after imputation.
    """

    columns: NDArray[np.int64]
    names: tuple[str, ...]
    median: Array
    mean: Array
    deviation: Array

    @classmethod
    def fit(cls, train: Patients, columns: NDArray[np.int64]) -> Scaler:
        """Learn from training patients; features that are constant or mostly missing are dropped."""
        values = train.features[:, columns]
        enough = np.isnan(values).mean(axis=0) <= MOST_MISSING
        columns, values = columns[enough], values[:, enough]
        median = np.nanmedian(values, axis=0) if values.size else np.zeros(len(columns))
        values = np.where(np.isnan(values), median, values)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        # Rounding gives equal numbers a spread of some 1e-16 of their size.
        varies = deviation > 1e-9 * np.maximum(np.abs(mean), 1e-300)
        names = tuple(train.names[c] for c in columns[varies])
        return cls(columns[varies], names, median[varies], mean[varies], deviation[varies])

    def transform(self, patients: Patients) -> Array:
        """(n, k) standardised features."""
        values = patients.features[:, self.columns]
        values = np.where(np.isnan(values), self.median, values)
        scaled: Array = (values - self.mean) / self.deviation
        return scaled

    def select(self, positions: NDArray[np.bool_] | NDArray[np.int64]) -> Scaler:
        """The same for a part of the features."""
        return Scaler(
            self.columns[positions],
            tuple(np.array(self.names, dtype=object)[positions]),
            self.median[positions],
            self.mean[positions],
            self.deviation[positions],
        )


@dataclass(frozen=True)
class Design:
    """Clinical columns, then features, as one matrix.

    Attributes:
        encoder: Encoding of the clinical columns.
        scaler: Imputation and scaling of the features.
    """

    encoder: ClinicalEncoder
    scaler: Scaler

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [*self.encoder.names(), *self.scaler.names]

    @property
    def clinical(self) -> int:
        """Number of clinical columns; they come first."""
        return len(self.encoder.names())

    def state(self, used: set[str]) -> dict[str, Any]:
        """Plain values that a linear risk can be computed from again.

        Returns:
            `clinical`, the encoder's state, and `features`, [name, median, mean, SD] of those in `used`.
        """
        scaler = self.scaler
        statistics = (scaler.median.tolist(), scaler.mean.tolist(), scaler.deviation.tolist())
        rows = zip(scaler.names, *statistics, strict=True)
        return {"clinical": self.encoder.state(), "features": [list(row) for row in rows if row[0] in used]}

    def transform(self, patients: Patients) -> Array:
        """(n, columns) numbers without missing values."""
        encoded = self.encoder.transform(patients.table).to_numpy(dtype=float)
        return np.concatenate([encoded, self.scaler.transform(patients)], axis=1)


def matching(names: Sequence[str], patterns: Sequence[str]) -> NDArray[np.int64]:
    """Positions of names that match any pattern, in the table's order.

    Raises:
        ModelError: A pattern matches no name; the message gives the nearest ones.
    """
    positions: set[int] = set()
    for pattern in patterns:
        matches = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, pattern)]
        if not matches:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
            raise ModelError(
                f"no feature is named {pattern!r}",
                where="features of a model",
                expected=", ".join(near) or f"one of {len(names)} columns of the feature table",
                action="correct the model's settings, or extract this feature",
            )
        positions.update(matches)
    return np.array(sorted(positions), dtype=np.int64)


def correlation_filter(values: Array, threshold: float) -> NDArray[np.int64]:
    """Positions of columns of which no two have |Spearman's ρ| above a threshold.

    Args:
        values: (n, p) columns of training patients, the preferred ones first.
        threshold: Limit in (0, 1]; with 1 all columns pass.

    Returns:
        Positions of the columns that pass, ascending.
    """
    from scipy.stats import rankdata

    if threshold >= 1 or values.shape[1] < 2:
        return np.arange(values.shape[1])
    return pearson_filter(rankdata(values, axis=0), threshold)


def pearson_filter(values: Array, threshold: float) -> NDArray[np.int64]:
    """As :func:`correlation_filter`, with |Pearson's r|."""
    centred = values - values.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    centred = centred / np.where(length > 0, length, 1.0)
    correlation = np.abs(centred.T @ centred)
    dropped = np.zeros(values.shape[1], dtype=bool)
    passed = []
    for j in range(values.shape[1]):
        if not dropped[j]:
            passed.append(j)
            # 1e-9: a correlation that equals the threshold but for rounding is not above it.
            dropped |= correlation[j] > threshold + 1e-9
    return np.array(passed, dtype=np.int64)
