"""Ranges of covariates beyond which a patient is unlike those that a study learned from.

A range from forty patients is uncertain: their 1st and 99th percentiles are their extremes, so that a
patient of the same kind lies outside of one of a dozen ranges in one case of five. The range is
therefore the tolerance interval that holds 99.9 % of such patients at 95 % confidence, and never
narrower than a margin that matters: 1 % less of the crop imaged is no other kind of patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COVERAGE, CONFIDENCE = 0.999, 0.95


@dataclass(frozen=True)
class CovariateScale:
    """How a covariate is compared.

    Attributes:
        margin: Distance from the median that must be exceeded to matter: a difference, or a factor.
        ratio: Compared by its logarithm; the margin is a factor.
    """

    margin: float
    ratio: bool = False


SCALES = {
    "suvmax": CovariateScale(1.5, ratio=True),
    "uptake_minutes": CovariateScale(10.0),
    "pet_slice_mm": CovariateScale(0.1),
    "ct_slice_mm": CovariateScale(0.1),
    "similarity": CovariateScale(0.05),
    "overlap": CovariateScale(0.05),
    "rotation_deg": CovariateScale(5.0),
    "imaged_share": CovariateScale(0.05),
    "lesion_ml": CovariateScale(2.0, ratio=True),
    "pet_mean": CovariateScale(1.5, ratio=True),
    "pet_sd": CovariateScale(1.5, ratio=True),
    "ct_mean": CovariateScale(100.0),
    "ct_sd": CovariateScale(50.0),
}
"""Covariate → its scale; others (clinical numbers, other channels) have no margin."""


def plausible_range(name: str, values: NDArray[np.float64]) -> tuple[float, float]:
    """The range of a covariate: tolerance interval, extremes and margin, whichever lies further out.

    Args:
        name: The covariate.
        values: (n,) values of the development patients, n ≥ 1, finite.
    """
    scale = SCALES.get(name, CovariateScale(0.0))
    logarithmic = scale.ratio and bool((values > 0).all())
    transformed = np.log(values) if logarithmic else values
    margin = np.log(scale.margin) if logarithmic else (0.0 if scale.ratio else scale.margin)
    median, reach = float(np.median(transformed)), 0.0
    if len(values) > 1:
        reach = tolerance_factor(len(values)) * float(transformed.std(ddof=1))
    low = min(float(transformed.min()), float(transformed.mean()) - reach, median - margin)
    high = max(float(transformed.max()), float(transformed.mean()) + reach, median + margin)
    return (float(np.exp(low)), float(np.exp(high))) if logarithmic else (low, high)


def tolerance_factor(patients: int) -> float:
    """k of the two-sided normal tolerance interval mean ± k·SD (Howe, J Am Stat Assoc 1969; 64: 610).

    Args:
        patients: Number n of values, at least 2.
    """
    from scipy.special import chdtri, ndtri

    freedom = patients - 1
    z = float(ndtri((1 + COVERAGE) / 2))
    # chdtri takes the upper tail.
    chi_square = float(chdtri(freedom, CONFIDENCE))
    return z * float(np.sqrt(freedom * (1 + 1 / patients) / chi_square))
