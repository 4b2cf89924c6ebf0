"""Risk and survival of a patient from the folds of a bundle's members, with the range of the folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.deploy.manifest import Manifest
from pipeline.deploy.networks import NetworkResult

if TYPE_CHECKING:
    from pipeline.training.detections import Box

Probability = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
CURVE_POINTS = 60
"""Times of the drawn survival curve after 0."""


@dataclass(frozen=True)
class FoldRange:
    """The lowest and the highest value that a fold gives."""

    low: float
    high: float


@dataclass(frozen=True)
class PatientCurve:
    """Predicted survival over time.

    Attributes:
        days: (T,) ascending times, from 0 to the shortest follow-up of a fold.
        mean: (T,) mean over folds.
        by_fold: (K, T) each fold's.
    """

    days: Array
    mean: Array
    by_fold: Array


@dataclass(frozen=True)
class RiskEstimate:
    """Predicted survival of a patient.

    Attributes:
        risk: Mean over folds of the members' mean Z; higher = worse.
        spread: SD over folds of that Z.
        percentile: Place of the risk among the development patients' risks by the folds that held
            them out, 0 to 100.
        group: Risk group, 1 the lowest; cut on training patients.
        survival: Probability by horizon in days; NaN beyond the study's follow-up.
        percentiles: The same place of the risks of single folds; None of a single fold.
        survival_ranges: Range of the folds by horizon; empty of a single fold.
        curve: Survival over time; None where a member gives it at horizons only.
    """

    risk: float
    spread: float
    percentile: float
    group: int
    survival: dict[float, float]
    percentiles: FoldRange | None
    survival_ranges: dict[float, FoldRange]
    curve: PatientCurve | None


@dataclass
class MemberScores:
    """What members give per fold.

    Attributes:
        z: Z by member that predicts survival.
        survival: Survival at the times of :func:`survival_times` by fold, of the same members.
        results: Predictions of networks.
        boxes: Boxes by network that detects.
        labels: Probabilities by label of logistic regressions, one dictionary a fold.
    """

    z: dict[str, list[float]] = field(default_factory=dict)
    survival: dict[str, list[list[float]]] = field(default_factory=dict)
    results: list[NetworkResult] = field(default_factory=list)
    boxes: dict[str, list[list[Box]]] = field(default_factory=dict)
    labels: list[dict[str, float]] = field(default_factory=list)

    def mean_probability(self) -> Probability | None:
        """(Z, Y, X) tumour probability, mean over folds and networks; None where none segments."""
        maps = [result.probability for result in self.results if result.probability is not None]
        return np.stack(maps).mean(axis=0, dtype=np.float64).astype(np.float32) if maps else None

    def mean_class_probability(self) -> Probability | None:
        """(K, Z, Y, X) probability of each class, mean over folds and networks that tell classes apart; else None."""
        maps = [result.class_probability for result in self.results if result.class_probability is not None]
        return np.stack(maps).mean(axis=0, dtype=np.float64).astype(np.float32) if maps else None

    def mean_survival(self, times: int) -> dict[str, tuple[float, ...]]:
        """Survival at the first times by member, mean over folds; NaN where a fold does not know it."""
        return {
            name: tuple(np.mean(np.array(rows, dtype=float), axis=0)[:times].tolist())
            for name, rows in self.survival.items()
        }

    def mean_labels(self) -> dict[str, float]:
        """Probability by label, mean over folds and models."""
        predicted = [*(result.labels for result in self.results), *self.labels]
        names = sorted({name for labels in predicted for name in labels})
        values = {n: [labels[n] for labels in predicted if n in labels] for n in names}
        return {name: float(np.mean(probabilities)) for name, probabilities in values.items()}


def curve_days(manifest: Manifest) -> tuple[float, ...]:
    """Times of the survival curve, to the shortest follow-up of a fold; empty where a member has no hazard."""
    linear = [fold.hazard for member in manifest.linear_models().values() for fold in member.folds]
    networks = [member for member in manifest.networks().values() if member.predicts_survival()]
    hazards = [*linear, *(fold.hazard for member in networks for fold in member.folds)]
    last = [hazard.last_days for hazard in hazards if hazard is not None]
    if not last or len(last) < len(hazards):
        return ()
    return tuple(float(day) for day in np.linspace(0.0, min(last), CURVE_POINTS + 1))


def survival_times(manifest: Manifest) -> tuple[float, ...]:
    """Times at which every member's survival is computed: the horizons, then those of the curve."""
    return (*manifest.horizons_days, *curve_days(manifest))


def estimate_risk(manifest: Manifest, scores: MemberScores) -> RiskEstimate | None:
    """Risk and survival from the members' Z-scores; None where no member predicts survival."""
    if not scores.z:
        return None
    by_fold = np.mean([scores.z[name] for name in manifest.members if name in scores.z], axis=0)
    risk, places = float(by_fold.mean()), manifest.cohort.risk_percentiles
    rows = np.array([row for member in scores.survival.values() for row in member], dtype=float)
    mean, folds = rows.mean(axis=0), np.mean(list(scores.survival.values()), axis=0)
    horizons = manifest.horizons_days
    several = len(by_fold) > 1
    return RiskEstimate(
        risk=risk,
        spread=float(by_fold.std(ddof=1)) if several else 0.0,
        percentile=percentile_of(risk, places),
        group=1 + int(np.searchsorted(np.array(manifest.risk_cuts), risk, side="left")),
        survival=dict(zip(horizons, mean[: len(horizons)].tolist(), strict=True)),
        percentiles=_range([percentile_of(float(z), places) for z in by_fold]) if several else None,
        survival_ranges={day: _range(folds[:, i]) for i, day in enumerate(horizons)} if several else {},
        curve=_curve(manifest, mean[len(horizons) :], folds[:, len(horizons) :]),
    )


def _range(values: Sequence[float] | Array) -> FoldRange:
    """Lowest and highest; NaN where a value is not known."""
    return FoldRange(float(np.min(values)), float(np.max(values)))


def _curve(manifest: Manifest, mean: Array, by_fold: Array) -> PatientCurve | None:
    days = np.array(curve_days(manifest), dtype=np.float64)
    return PatientCurve(days, mean, by_fold) if len(days) else None


def percentile_of(risk: float, percentiles: tuple[float, ...]) -> float:
    """Place of a risk among the development patients, interpolated between every 5 %."""
    return float(np.interp(risk, percentiles, np.linspace(0, 100, len(percentiles))))
