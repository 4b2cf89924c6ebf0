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
"""A feature missing in more training patients than this share is not offered."""


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
        """Learn from training patients; drops features that are constant or mostly missing."""
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

    def keep(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Scaler:
        """The same for a part of the features."""
        return Scaler(
            self.columns[chosen],
            tuple(np.array(self.names, dtype=object)[chosen]),
            self.median[chosen],
            self.mean[chosen],
            self.deviation[chosen],
        )


@dataclass(frozen=True)
class Design:
    """Clinical columns, then features, as one matrix.

    Attributes:
        encoder: Of the clinical columns.
        scaler: Of the features.
    """

    encoder: ClinicalEncoder
    scaler: Scaler

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [*self.encoder.names(), *self.scaler.names]

    @property
    def clinical(self) -> int:
        """How many columns are clinical; they come first."""
        return len(self.encoder.names())

    def state(self, used: set[str]) -> dict[str, Any]:
        """Plain values that a linear risk can be computed from again: `clinical`, the encoder's
        state, and `features`, [name, median, mean, SD] of those in `used`."""
        of = self.scaler
        rows = zip(of.names, of.median.tolist(), of.mean.tolist(), of.deviation.tolist(), strict=True)
        return {"clinical": self.encoder.state(), "features": [list(row) for row in rows if row[0] in used]}

    def transform(self, patients: Patients) -> Array:
        """(n, columns) numbers without missing values."""
        encoded = self.encoder.transform(patients.table).to_numpy(dtype=float)
        return np.concatenate([encoded, self.scaler.transform(patients)], axis=1)


def matching(names: Sequence[str], patterns: Sequence[str]) -> NDArray[np.int64]:
    """Positions of names that match any pattern, in the table's order.

    Raises:
        ModelError: A pattern matches nothing; the nearest names are told.
    """
    found: set[int] = set()
    for pattern in patterns:
        hits = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, pattern)]
        if not hits:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
            raise ModelError(
                f"no feature is named {pattern!r}",
                where="features of a model",
                expected=", ".join(near) or f"one of {len(names)} columns of the feature table",
                action="mend the model's settings, or extract this feature",
            )
        found.update(hits)
    return np.array(sorted(found), dtype=np.int64)


def correlation_filter(values: Array, threshold: float) -> NDArray[np.int64]:
    """Positions kept when no two columns may have |Spearman's ρ| above a threshold.

    Args:
        values: (n, p) of training patients, most wanted column first.
        threshold: In (0, 1]; 1 keeps all.

    Returns:
        Kept positions, ascending.
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
    blocked = np.zeros(values.shape[1], dtype=bool)
    kept = []
    for j in range(values.shape[1]):
        if not blocked[j]:
            kept.append(j)
            # 1e-9: a correlation that equals the threshold but for rounding is not above it.
            blocked |= correlation[j] > threshold + 1e-9
    return np.array(kept, dtype=np.int64)
