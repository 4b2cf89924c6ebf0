"""The risk of a linear member and the probabilities of a logistic one, from coefficients alone."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, softmax

from pipeline.deploy.manifest_members import (
    BaselineHazard,
    LinearFold,
    LogisticFold,
    LogisticMember,
    ZScale,
)
from pipeline.errors import ModelError
from pipeline.metrics.baseline import Baseline

if TYPE_CHECKING:
    import pandas as pd


def linear_risk(
    fold: LinearFold, features: Mapping[str, float], clinical: pd.DataFrame, *, log: bool = False
) -> float:
    """Σ β·(x − mean)/SD over features and encoded clinical columns; higher = worse.

    Args:
        fold: Coefficients, scaling and encoder.
        features: Value by column of the feature table; NaN where unknown (median taken).
        clinical: One row with the clinical columns.
        log: Whether features enter as their logarithm.

    Raises:
        ModelError: A feature is absent, or has no logarithm.
    """
    columns = _columns(fold, features, clinical, log=log)
    return float(sum(fold.coefficients[name] * value for name, value in columns.items()))


def class_probabilities(
    member: LogisticMember, fold: LogisticFold, features: Mapping[str, float], clinical: pd.DataFrame
) -> dict[str, float]:
    """Column of the predictions → probability: `label_x` of class 1, or `label_x_0`, `label_x_1`, … of each class.

    Args:
        member: The model that the fold is of.
        fold: Coefficients, scaling and encoder.
        features: Value by column of the feature table; NaN where unknown (median taken).
        clinical: One row with the clinical columns.

    Raises:
        ModelError: A feature is absent.
    """
    columns = _columns(fold, features, clinical, log=False)
    logits = np.array(
        [
            intercept + sum(fold.log_odds_ratios[number][name] * value for name, value in columns.items())
            for number, intercept in fold.intercepts.items()
        ]
    )
    if len(logits) == 1:
        return {member.label: float(expit(logits[0]))}
    return {f"{member.label}_{number}": float(p) for number, p in enumerate(softmax(logits))}


def _columns(
    fold: LinearFold | LogisticFold, features: Mapping[str, float], clinical: pd.DataFrame, *, log: bool
) -> dict[str, float]:
    """Encoded clinical columns and standardised features, by name."""
    encoded = fold.clinical.transform(clinical).iloc[0]
    columns = {str(name): float(value) for name, value in encoded.items()}
    for feature in fold.features:
        value = _value(feature.name, features, log=log)
        value = feature.median if math.isnan(value) else value
        columns[feature.name] = (value - feature.mean) / feature.sd
    return columns


def _value(name: str, features: Mapping[str, float], *, log: bool) -> float:
    """A feature by its name or by the pattern that chose it in the study."""
    column = name if name in features else next((f for f in features if fnmatch.fnmatchcase(f, name)), "")
    if not column:
        raise ModelError(
            f"feature {name!r} was not extracted",
            where="radiomics of the new patient",
            action="make the bundle again: its feature set does not belong to its models",
        )
    value = float(features[column])
    if log and value <= 0:
        raise ModelError(f"feature {column!r} has no logarithm", expected="a value above 0", got=f"{value:g}")
    return math.log(value) if log else value


def z_score(scale: ZScale, risk: float) -> float:
    """Frozen Z-score; 0 for a member whose risk does not vary between patients."""
    return (risk - scale.mean) / scale.sd if scale.sd > 0 else 0.0


def survival(hazard: BaselineHazard, risk: float, horizons_days: tuple[float, ...]) -> list[float]:
    """Survival probabilities at the horizons; NaN beyond the study's follow-up."""
    times = np.array(hazard.times_days, dtype=np.float64)
    cumulative = np.array(hazard.cumulative_hazard, dtype=np.float64)
    baseline = Baseline(times, cumulative, hazard.centre, hazard.last_days, hazard.slope)
    probabilities = baseline.survival(np.array([risk]), np.array(horizons_days))
    return [float(probability) for probability in probabilities[0]]
