"""Filters and univariate concordance against plain implementations."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.survival.design import Scaler, correlation_filter, matching, pearson_filter
from pipeline.survival.patients import Patients
from pipeline.survival.penalised import choose_penalty
from pipeline.survival.selection import univariate_concordance


def patients(n=40, p=7, seed=0):
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"time_days": generator.integers(1, 30, n).astype(float), "event": generator.integers(0, 2, n)}
    )
    values = np.round(generator.normal(size=(n, p)), 1)
    return Patients(table, values, tuple(f"f{j}" for j in range(p)))


@pytest.mark.parametrize("chunk", [100, 10**7])
def test_univariate_concordance_is_each_features_own(chunk, monkeypatch):
    monkeypatch.setattr("pipeline.survival.selection.CHUNK", chunk)
    data = patients()
    event = data.event.astype(float)
    expected = [concordance_index(data.time, event, column) for column in data.features.T]
    assert univariate_concordance(data.features, data)[0] == pytest.approx(expected, abs=1e-12)
    counts = np.random.default_rng(1).integers(0, 3, (4, 40)).astype(float)
    concordance = univariate_concordance(data.features, data, counts)
    for row, values in zip(counts.astype(int), concordance, strict=True):
        drawn = np.repeat(np.arange(40), row)
        slow = [concordance_index(data.time[drawn], event[drawn], x[drawn]) for x in data.features.T]
        assert values == pytest.approx(slow, abs=1e-12)


def test_spearman_filter_leaves_no_pair_above_the_limit_and_drops_no_other():
    generator = np.random.default_rng(3)
    values = generator.normal(size=(50, 4)) @ generator.normal(size=(4, 20))
    values = np.exp(values)  # ranks, not values, count
    passed = correlation_filter(values, 0.7)
    rho = np.abs(spearmanr(values).statistic)
    inside = rho[np.ix_(passed, passed)]
    assert (inside[~np.eye(len(passed), dtype=bool)] <= 0.7).all() and 0 in passed
    for j in set(range(20)) - set(passed.tolist()):
        earlier = [k for k in passed if k < j]
        assert rho[j, earlier].max() > 0.7
    assert list(correlation_filter(values, 1.0)) == list(range(20))


def test_pearson_filter_by_hand():
    x = np.array([1.0, 2, 3, 4])
    values = np.column_stack([x, x**2, [1, -1, 1, -1]])  # r of x and x² is 0.984
    assert list(pearson_filter(values, 0.98)) == [0, 2]
    assert list(pearson_filter(values, 0.99)) == [0, 1, 2]


def test_scaler_learns_from_its_patients_only():
    data = patients()
    data.features[0, 0] = np.nan
    scaler = Scaler.fit(data, np.arange(7))
    known = data.features[1:, 0]
    filled = np.r_[np.median(known), known]
    expected = (filled - filled.mean()) / filled.std()
    assert scaler.transform(data)[:, 0] == pytest.approx(expected)
    other = Patients(data.table[:1], np.full((1, 7), np.nan), data.names)
    assert scaler.transform(other)[0, 0] == pytest.approx(expected[0])


def test_patterns_of_names():
    names = ("pet_original_a", "ct_original_a", "pet_index_volume_ml")
    assert list(matching(names, ["pet_*"])) == [0, 2]
    with pytest.raises(ModelError, match="expected: pet_index_volume_ml"):
        matching(names, ["pet_index_volume"])


def test_penalty_rules():
    # Two folds; means −3, −1, −1.2, −4: the best is the second. Its error is 1 (±1 / √2 · √2):
    # the largest penalty within one error of it is still the second, and of ±3 the first.
    values = np.array([[-3.0, -2.0, -1.2, -4.0], [-3.0, 0.0, -1.2, -4.0]])
    assert choose_penalty(values, "min") == 1
    assert choose_penalty(values, "1se") == 1
    assert choose_penalty(np.add(values, [[0, -2, 0, 0], [0, 2, 0, 0]]), "1se") == 0
