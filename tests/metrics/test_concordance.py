"""Concordance against scikit-survival and lifelines, which count pairs one by one."""

import numpy as np
import pytest

from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.concordance import concordance_index, harrell_pairs, uno_pairs
from pipeline.metrics.time_dependent import SurvivalOutcome


def outcomes(seed, n=60, tied=True):
    """Times with many ties, events and risks with ties."""
    generator = np.random.default_rng(seed)
    time = generator.integers(1, 20 if tied else 10**6, n).astype(float)
    event = (generator.random(n) < 0.5).astype(float)
    risk = generator.integers(0, 12, n).astype(float)
    return time, event, risk


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_scikit_survival_and_lifelines(seed):
    from lifelines.utils import concordance_index as lifelines_index
    from sksurv.metrics import concordance_index_censored

    time, event, risk = outcomes(seed, tied=seed % 2 == 0)
    ours = concordance_index(time, event, risk)
    assert ours == pytest.approx(concordance_index_censored(event == 1, time, risk)[0], abs=1e-12)
    assert ours == pytest.approx(lifelines_index(time, -risk, event), abs=1e-12)


def test_by_hand():
    # Pairs: (1,2) right, (1,3) right, (1,4) tied, (2,·): 2 is censored, (3,4) wrong → 2.5 / 4.
    time, event = np.array([1.0, 2, 3, 4]), np.array([1.0, 0, 1, 1])
    risk = np.array([3.0, 1, 2, 3])
    assert concordance_index(time, event, risk) == 2.5 / 4


def test_higher_risk_is_worse():
    time = np.arange(1.0, 11)
    assert concordance_index(time, np.ones(10), -time) == 1.0
    assert concordance_index(time, np.ones(10), time) == 0.0


def test_constant_risk_is_half_and_no_event_is_nan():
    time = np.arange(1.0, 11)
    assert concordance_index(time, np.ones(10), np.zeros(10)) == 0.5
    assert np.isnan(concordance_index(time, np.zeros(10), time))


def test_within_folds_is_the_mean_of_folds_weighted_by_their_pairs():
    time, event, risk = outcomes(3)
    fold = np.arange(60) % 4
    agreed = total = 0.0
    for k in range(4):
        pairs = harrell_pairs(time[fold == k], event[fold == k], risk[fold == k])
        agreed, total = agreed + pairs.score.sum(), total + pairs.weight.sum()
    assert concordance_index(time, event, risk, fold) == pytest.approx(agreed / total, abs=1e-12)


def test_within_folds_does_not_see_shifts_between_folds():
    time, event, risk = outcomes(4)
    fold = np.arange(60) % 3
    shifted = risk + 100.0 * fold
    assert concordance_index(time, event, shifted, fold) == concordance_index(time, event, risk, fold)
    assert concordance_index(time, event, shifted) != concordance_index(time, event, risk)


@pytest.mark.parametrize("folds", [None, 3])
def test_bootstrap_equals_resampling_rows(folds):
    time, event, risk = outcomes(5, n=40)
    fold = None if folds is None else np.arange(40) % folds
    counts = resample_counts(40, 25, seed=1, fold=fold)
    fast = harrell_pairs(time, event, risk, fold).index(counts)
    for row, value in zip(counts.astype(int), fast, strict=True):
        drawn = np.repeat(np.arange(40), row)
        slow = concordance_index(
            time[drawn], event[drawn], risk[drawn], None if fold is None else fold[drawn]
        )
        assert value == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_uno_agrees_with_scikit_survival(seed):
    from sksurv.metrics import concordance_index_ipcw
    from sksurv.util import Surv

    generator = np.random.default_rng(seed)
    # Untied: scikit-survival weights an event at T by G(T), here it is G(T−).
    time = generator.uniform(1, 40, 80)
    event = (generator.random(80) < 0.6).astype(float)
    event[np.argmax(time)] = 0
    risk = generator.integers(0, 30, 80) - 0.3 * time
    tau = 30.0
    data = SurvivalOutcome.of(time, event)
    ours = float(uno_pairs(time, event, risk, data.censoring, tau).index()[0])
    outcome = Surv.from_arrays(event == 1, time)
    assert ours == pytest.approx(concordance_index_ipcw(outcome, outcome, risk, tau=tau)[0], abs=1e-12)
