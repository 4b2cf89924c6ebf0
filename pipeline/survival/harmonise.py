"""ComBat: features of several centres on one scale, learned from training patients only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.survival.patients import Patients

Array = NDArray[np.float64]
MIN_PATIENTS = 3
"""Training patients that a centre needs for an estimate of its variance."""
MIN_FEATURES = 3
"""Features that the estimation of the priors needs; with fewer, plain estimates are used."""


@dataclass(frozen=True)
class CentreEffect:
    """How a centre's features differ from the mean of all centres, on the standardised scale.

    Attributes:
        shift: (p,) additive γ*.
        scale: (p,) multiplicative δ*.
    """

    shift: Array
    scale: Array


@dataclass(frozen=True)
class Harmoniser:
    """ComBat (Johnson, Li and Rabinovic, Biostatistics 2007; 8: 118), parametric priors.

    No covariate is preserved. Patients of a centre that was not learned, because it is new
    or has fewer than three training patients, keep their values.

    Attributes:
        mean: (p,) mean over training patients of the learned centres.
        deviation: (p,) SD within centres.
        centres: Centre → its effect.
    """

    mean: Array
    deviation: Array
    centres: dict[str, CentreEffect]

    @classmethod
    def fit(cls, train: Patients) -> Harmoniser:
        """Learn from training patients; missing values are ignored.

        With fewer than two centres of three patients nothing is learned.
        """
        centre = train.table["centre"].astype(str).to_numpy()
        names = [c for c in np.unique(centre) if (centre == c).sum() >= MIN_PATIENTS]
        features = train.features.shape[1]
        if len(names) < 2 or not features:
            return cls(np.zeros(features), np.ones(features), {})
        rows = np.isin(centre, names)
        values, centre = train.features[rows], centre[rows]
        mean = _mean(values)
        within = np.empty_like(values)
        for name in names:
            within[centre == name] = values[centre == name] - _mean(values[centre == name])
        deviation = np.sqrt(_mean(within**2))
        # A feature that is constant within centres has no scale to be brought to.
        deviation = np.where(deviation > 1e-9 * np.maximum(np.abs(mean), 1e-300), deviation, np.nan)
        scaled = (values - mean) / deviation
        return cls(mean, deviation, {name: _centre_effect(scaled[centre == name]) for name in names})

    def transform(self, patients: Patients) -> Patients:
        """Patients with harmonised features; a feature that cannot be scaled stays as it is."""
        if not self.centres or not len(patients):
            return patients
        values = patients.features.copy()
        centre = patients.table["centre"].astype(str).to_numpy()
        for name, effect in self.centres.items():
            rows = centre == name
            adjusted = ((values[rows] - self.mean) / self.deviation - effect.shift) / effect.scale
            adjusted = adjusted * self.deviation + self.mean
            usable = np.isfinite(self.deviation) & np.isfinite(effect.shift) & np.isfinite(effect.scale)
            values[rows] = np.where(usable, adjusted, values[rows])
        return Patients(patients.table, values, patients.names)

    def report(self) -> dict[str, Any]:
        """The centres that were learned, for `model.json`."""
        return {
            "method": "combat",
            "centres": sorted(self.centres),
            "other_centres": "values unchanged",
        }


def _mean(values: Array) -> Array:
    """(p,) means over known values; NaN where there is none."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))


def _centre_effect(scaled: Array) -> CentreEffect:
    """Empirical Bayes estimates of one centre, eqs. 3.1–3.2."""
    known = np.isfinite(scaled)
    count = known.sum(axis=0)
    shift = _mean(scaled)
    squares = np.where(known, (scaled - shift) ** 2, 0.0).sum(axis=0)
    variance = np.divide(squares, count - 1, out=np.full(len(shift), np.nan), where=count > 1)
    usable = np.isfinite(shift) & (variance > 0)
    if usable.sum() < MIN_FEATURES:
        return CentreEffect(shift, np.sqrt(np.where(variance > 0, variance, np.nan)))
    prior_mean, prior_variance = shift[usable].mean(), shift[usable].var(ddof=1)
    m, s2 = variance[usable].mean(), variance[usable].var(ddof=1)
    if not (prior_variance > 0 and s2 > 0):
        return CentreEffect(shift, np.sqrt(np.where(variance > 0, variance, np.nan)))
    shape, rate = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
    new_shift, new_variance = shift.copy(), variance.copy()
    for _ in range(200):
        old_shift, old_variance = new_shift, new_variance
        weight = count * prior_variance
        new_shift = (weight * shift + old_variance * prior_mean) / (weight + old_variance)
        squares = np.where(known, (scaled - new_shift) ** 2, 0.0).sum(axis=0)
        new_variance = (rate + squares / 2) / (count / 2 + shape - 1)
        moved = (
            np.abs(new_shift - old_shift)[usable].max() + np.abs(new_variance - old_variance)[usable].max()
        )
        if moved < 1e-10:
            break
    new_shift[~usable], new_variance[~usable] = np.nan, np.nan
    return CentreEffect(new_shift, np.sqrt(new_variance))
