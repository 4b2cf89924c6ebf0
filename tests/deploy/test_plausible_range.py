"""Ranges of covariates: as wide as the number of patients asks, and never narrower than what matters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.deploy.plausible_range import plausible_range, tolerance_factor


@pytest.mark.parametrize("patients", [10, 40, 200])
def test_the_interval_holds_what_it_says(patients: int) -> None:
    """Of 4,000 cohorts 95 % have an interval that holds at least 99.9 % of the population."""
    samples = np.random.default_rng(patients).normal(size=(4000, patients))
    mean, reach = samples.mean(axis=1), tolerance_factor(patients) * samples.std(axis=1, ddof=1)
    held = norm.cdf(mean + reach) - norm.cdf(mean - reach)
    assert (held >= 0.999).mean() == pytest.approx(0.95, abs=0.015)


def test_clean_patients_are_rarely_flagged_and_a_tenfold_suv_always() -> None:
    """13 covariates of 40 patients: by 1st and 99th percentiles a third of new patients lay outside of one."""
    generator = np.random.default_rng(0)
    outside, by_percentiles = [], []
    for _ in range(200):
        cohort, new = generator.normal(size=(40, 13)), generator.normal(size=13)
        ranges = [plausible_range("clinical_age", column) for column in cohort.T]
        outside.append(any(not low <= x <= high for x, (low, high) in zip(new, ranges, strict=True)))
        low, high = np.percentile(cohort, [1, 99], axis=0)
        by_percentiles.append(((new < low) | (new > high)).any())
    assert np.mean(outside) < 0.03 and np.mean(by_percentiles) > 0.25
    suvmax = np.exp(generator.normal(2, 0.4, 40))
    low, high = plausible_range("suvmax", suvmax)
    assert low < suvmax.min() and suvmax.max() < high < 10 * np.median(suvmax)


@pytest.mark.parametrize(
    ("name", "values", "low", "high"),
    [
        ("imaged_share", [1.0, 1.0, 1.0], 0.95, 1.05),
        ("lesion_ml", [10.0, 10.0], 5.0, 20.0),
        ("uptake_minutes", [60.0], 50.0, 70.0),
        ("clinical_dose", [3.0, 3.0], 3.0, 3.0),
    ],
)
def test_equal_values_leave_the_margin(name: str, values: list[float], low: float, high: float) -> None:
    assert plausible_range(name, np.array(values)) == pytest.approx((low, high))


def test_values_that_have_no_logarithm_are_compared_as_they_are() -> None:
    low, high = plausible_range("lesion_ml", np.array([0.0, 1.0, 2.0]))
    assert low < 0 and high > 2
