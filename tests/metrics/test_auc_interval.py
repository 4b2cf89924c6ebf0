"""The AUC's interval against Newcombe's formula, written out here for unweighted pairs, and against simulation."""

import numpy as np
import pytest
from scipy.optimize import brentq

from pipeline.metrics.auc_interval import auc_interval
from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.concordance import Pairs, concordant
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.scores import score
from pipeline.metrics.time_dependent import SurvivalOutcome

NONE = np.empty(0)


def pairs_of(case, risk, fold=None, times=1.0):
    weight = times * (case[:, None] & ~case[None, :]).astype(float)
    if fold is not None:
        weight *= fold[:, None] == fold[None, :]
    return Pairs(concordant(risk) * weight, weight)


def newcombe(area, cases, controls, z):
    """Method 5 of Newcombe 2006 in the numbers of cases and controls, as printed there."""
    mean = (cases + controls) / 2 - 1

    def excess(theta):
        together = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        return (area - theta) ** 2 - z**2 * theta * (1 - theta) * together / (cases * controls)

    low = 0.0 if area == 0 else brentq(excess, 1e-12, area - 1e-9)
    return low, 1.0 if area == 1 else brentq(excess, area + 1e-9, 1 - 1e-12)


@pytest.mark.parametrize(("cases", "controls"), [(1, 9), (5, 35), (35, 5), (20, 20)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_without_weights_it_is_newcombes(cases, controls, confidence):
    generator = np.random.default_rng(cases)
    case = np.arange(cases + controls) < cases
    pairs = pairs_of(case, generator.normal(size=len(case)) + case)
    z = {0.9: 1.6448536, 0.95: 1.9599640}[confidence]
    interval = auc_interval(pairs, confidence, NONE)
    expected = newcombe(float(pairs.index()[0]), cases, controls, z)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-6)


def test_a_perfect_order_of_few_cases_is_uncertain():
    case = np.arange(40) < 3
    interval = auc_interval(pairs_of(case, case.astype(float)), 0.95, NONE)
    assert interval.high == interval.value == 1.0 and 0.5 < interval.low < 0.75
    reverse = auc_interval(pairs_of(case, 1.0 - case), 0.95, NONE)
    assert reverse.low == reverse.value == 0.0 and reverse.high == pytest.approx(1 - interval.low, abs=1e-9)


def test_a_common_factor_of_the_weights_changes_nothing_and_no_pair_has_no_interval():
    case, risk = np.arange(30) < 8, np.random.default_rng(1).normal(size=30)
    one, ten = (auc_interval(pairs_of(case, risk, times=times), 0.95, NONE) for times in (1.0, 10.0))
    assert (one.low, one.high) == pytest.approx((ten.low, ten.high), abs=1e-9)
    nothing = auc_interval(pairs_of(np.zeros(30, dtype=bool), risk), 0.95, NONE)
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_rows_of_one_group_count_as_one_patient():
    case, risk = np.arange(20) < 6, np.random.default_rng(2).normal(size=20)
    once = auc_interval(pairs_of(case, risk), 0.95, NONE)
    slices = auc_interval(
        pairs_of(np.repeat(case, 3), np.repeat(risk, 3)),
        0.95,
        NONE,
        np.repeat(np.arange(20).astype(str), 3).astype(object),
    )
    assert (slices.low, slices.high) == pytest.approx((once.low, once.high), abs=1e-9)


@pytest.mark.parametrize("folds", [1, 3])
def test_it_holds_the_truth_in_19_of_20_cohorts_of_few_cases(folds):
    """Two normal scores one SD apart: the true area is Φ(1/√2) = 0.760; 6 cases of 40, within folds or not."""
    held, fold = [], np.arange(40) % folds
    for seed in range(600):
        case = np.arange(40) < 6
        risk = np.random.default_rng(seed).normal(size=40) + case
        interval = auc_interval(pairs_of(case, risk, fold), 0.95, NONE)
        held.append(interval.low <= 0.7602499 <= interval.high)
    assert 0.92 <= np.mean(held) <= 0.98


def predicted(time, event):
    """External predictions with a probability at 100 days."""
    n = len(time)
    return RiskPredictions.of(
        Predictions("m", "external", tuple(map(str, range(n))), None, event),
        SurvivalOutcome.of(time, event),
        np.linspace(1, 0, n),
        {100.0: np.linspace(0.3, 0.9, n)},
    )


@pytest.mark.parametrize(
    ("by_then", "beyond", "reason"),
    [
        (4, 20, "4 events by 100 days: not estimated"),
        (1, 20, "1 event by 100 days: not estimated"),
        (12, 4, "4 patients are followed beyond 100 days: not estimated"),
        (12, 1, "1 patient is followed beyond 100 days: not estimated"),
        (5, 20, ""),
        (12, 5, ""),
    ],
)
def test_a_horizon_is_judged_with_five_patients_on_each_side(by_then, beyond, reason):
    time = np.r_[np.arange(1.0, by_then + 1), np.arange(101.0, 101 + beyond)]
    event = (np.arange(len(time)) < 12).astype(float)
    rows = {
        row.metric: row for row in score(predicted(time, event), resample_counts(len(time), 100, 0), 0.95)
    }
    for metric in ("auc_100d", "brier_100d", "brier_skill_100d", "observed_expected_100d"):
        assert bool(reason) == bool(np.isnan(rows[metric].interval.value))
        assert rows[metric].note == reason
    assert np.isfinite(rows["c_index"].interval.value)
