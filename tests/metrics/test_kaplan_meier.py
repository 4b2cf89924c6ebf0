"""Curves and log-rank test on the 6-MP leukaemia trial (Freireich et al., Blood 1963)."""

import numpy as np
import pytest

from pipeline.metrics.bootstrap import Interval, resample_counts
from pipeline.metrics.kaplan_meier import kaplan_meier, logrank, median_follow_up, uncensored_probability

TREATED = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


def arm(text):
    entries = text.split()
    return (
        np.array([float(e.rstrip("+")) for e in entries]),
        np.array([0.0 if e.endswith("+") else 1.0 for e in entries]),
    )


def test_kaplan_meier_of_6mp():
    # Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data, table 1.2;
    # Collett, Modelling Survival Data, prints the same to three digits.
    curve = kaplan_meier(*arm(TREATED))
    expected = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for time, survival in expected.items():
        assert curve.at(time).value == pytest.approx(survival, abs=6e-4)
    assert curve.at(5.9) == Interval(1.0, 1.0, 1.0)
    assert np.isnan(curve.at(35.1).value)
    assert list(curve.at_risk[:3]) == [21, 21, 17]


def test_the_interval_of_repeated_rows_is_that_of_patients():
    """Each patient of the 6-MP arm four times: the curve is the same, and as uncertain as with once."""
    time, event = arm(TREATED)
    patient = [str(i) for i in range(21)]
    once = kaplan_meier(time, event, counts=resample_counts(21, 2000, 1))
    rows = np.repeat(np.arange(21), 4)
    group = [patient[i] for i in rows]
    # Names sort as numbers do not; groups are drawn in the order of their names.
    counts = resample_counts(84, 2000, 1, group=group)
    repeated = kaplan_meier(time[rows], event[rows], counts=counts)
    naive = kaplan_meier(time[rows], event[rows])
    for day in (10, 16, 22):
        assert repeated.at(day).value == pytest.approx(once.at(day).value)
        width, expected = (c.at(day).high - c.at(day).low for c in (repeated, once))
        # Two draws of 2,000 resamples differ by little; rows taken for patients halve the width.
        assert width == pytest.approx(expected, rel=0.12)
        assert naive.at(day).high - naive.at(day).low < 0.65 * width
    # Greenwood's interval of the patients, which are independent, is of the same width.
    greenwood = kaplan_meier(time, event).at(16)
    assert repeated.at(16).high - repeated.at(16).low == pytest.approx(
        greenwood.high - greenwood.low, rel=0.15
    )


def test_log_rank_of_6mp():
    # R, survival::survdiff: chi-square 16.8 on 1 degree of freedom, p = 4e-05; 16.79 in
    # Kleinbaum and Klein, Survival Analysis, sec. 2.V.
    time, event = (np.concatenate(x) for x in zip(arm(TREATED), arm(PLACEBO), strict=True))
    test = logrank(time, event, np.repeat([0, 1], 21))
    assert test.chi_square == pytest.approx(16.79, abs=0.005)
    assert test.p_value == pytest.approx(4.17e-5, rel=0.01)


def test_log_rank_needs_two_groups():
    assert np.isnan(logrank(*arm(TREATED), np.zeros(21, dtype=int)).p_value)


def test_censoring_distribution_is_the_reverse_estimate():
    # At 6 three events leave before the one censored patient: 17/18 stay uncensored.
    time, event = arm(TREATED)
    at = np.array([5.9, 6.0, 6.5])
    assert uncensored_probability(time, event, at) == pytest.approx([1.0, 17 / 18, 17 / 18])
    assert uncensored_probability(time, event, at, before=True) == pytest.approx([1.0, 1.0, 17 / 18])


def test_median_follow_up_by_hand_and_lifelines():
    from lifelines import KaplanMeierFitter

    time, event = arm(TREATED)
    expected = KaplanMeierFitter().fit(time, 1 - event).median_survival_time_
    assert median_follow_up(time, event) == expected == 25
    # Of four patients two are censored, at 2 and 4: at 2 G = 2/3, at 4 G = 0.
    assert median_follow_up(np.array([1.0, 2, 3, 4]), np.array([1.0, 0, 1, 0])) == 4
    assert np.isnan(median_follow_up(time, np.ones(21)))
