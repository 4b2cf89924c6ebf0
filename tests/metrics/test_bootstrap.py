"""Resampling of patients, intervals and p-values."""

import numpy as np
import pytest

from pipeline.metrics.bootstrap import holm, percentile_interval, resample_counts, two_sided_p
from pipeline.metrics.concordance import harrell_pairs


def test_every_resample_has_as_many_patients_and_keeps_folds():
    fold = np.array([0] * 7 + [1] * 13)
    counts = resample_counts(20, 300, seed=1, fold=fold)
    assert (counts[:, :7].sum(axis=1) == 7).all() and (counts[:, 7:].sum(axis=1) == 13).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(20), abs=0.25)
    assert (resample_counts(20, 300, 1, fold) == counts).all()


def test_interval_of_a_normal_mean():
    # The percentile interval of a mean of 400 standard normal values is ±1.96/20.
    values = np.random.default_rng(0).normal(size=400)
    counts = resample_counts(400, 4000, seed=2)
    interval = percentile_interval(float(values.mean()), counts @ values / 400, 0.95)
    width = 1.959964 * values.std() / 20
    assert interval.high - interval.value == pytest.approx(width, rel=0.08)
    assert interval.value - interval.low == pytest.approx(width, rel=0.08)


def test_too_few_known_resamples_give_no_interval():
    samples = np.array([0.5] * 40 + [np.nan] * 60)
    assert np.isnan(percentile_interval(0.5, samples, 0.95).low)
    assert np.isnan(two_sided_p(samples))


def test_p_values():
    assert two_sided_p(np.full(999, 0.2)) == 2 / 1000
    assert two_sided_p(np.zeros(999)) == 1.0
    assert two_sided_p(np.linspace(-1, 1, 999)) == pytest.approx(1.0, abs=0.01)


def test_holm_by_hand():
    # Holm 1979: sorted 0.01, 0.02, 0.04 times 3, 2, 1, made monotone.
    assert holm(np.array([0.04, 0.01, np.nan, 0.02])) == pytest.approx(
        [0.04, 0.03, np.nan, 0.04], nan_ok=True
    )


def test_intervals_of_noise_seldom_leave_out_a_half():
    # 20 patients, 200 studies: a 95 % interval should leave out 0.5 in about 5 %, and the
    # percentile bootstrap of so few patients must stay below 10 %.
    generator, outside = np.random.default_rng(0), 0
    fold = np.arange(20) % 5
    for seed in range(200):
        time, event = generator.exponential(size=20), (generator.random(20) < 0.5).astype(float)
        pairs = harrell_pairs(time, event, generator.normal(size=20), fold)
        samples = pairs.index(resample_counts(20, 500, seed, fold))
        interval = percentile_interval(float(pairs.index()[0]), samples, 0.95)
        outside += not interval.low <= 0.5 <= interval.high
    assert outside / 200 < 0.10
