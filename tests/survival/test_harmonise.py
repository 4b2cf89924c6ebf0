"""ComBat against its formulas, written out per feature."""

import numpy as np
import pandas as pd
import pytest

from pipeline.survival.harmonise import Harmoniser
from pipeline.survival.patients import Patients


def patients(values, centre):
    table = pd.DataFrame({"centre": centre}, index=[f"P{i}" for i in range(len(values))])
    return Patients(table, values, tuple(f"f{j}" for j in range(values.shape[1])))


def two_centres(seed=0, n=40, p=8):
    generator = np.random.default_rng(seed)
    centre = np.array(["A", "B"])[np.arange(n) % 2]
    values = generator.normal(size=(n, p)) * np.linspace(1, 9, p) + np.arange(p) * 10
    values[centre == "B"] = values[centre == "B"] * 1.7 + 5
    return patients(values, centre)


def test_agrees_with_the_papers_formulas():
    # Johnson, Li, Rabinovic 2007, sec. 3.2: standardise, priors by moments over features,
    # posterior means by iteration, adjust. One feature and centre at a time.
    data = two_centres()
    y, centre = data.features, data.table["centre"].to_numpy()
    n, p = y.shape
    alpha = y.mean(axis=0)
    sigma = np.sqrt(sum(((y[centre == c] - y[centre == c].mean(axis=0)) ** 2).sum(axis=0) for c in "AB") / n)
    z = (y - alpha) / sigma
    expected = np.empty_like(y)
    for c in "AB":
        part = z[centre == c]
        gamma, delta = part.mean(axis=0), part.var(axis=0, ddof=1)
        gamma_bar, tau2 = gamma.mean(), gamma.var(ddof=1)
        v, s2 = delta.mean(), delta.var(ddof=1)
        a, b = (v**2 + 2 * s2) / s2, (v**3 + v * s2) / s2
        for j in range(p):
            g, d, k = gamma[j], delta[j], len(part)
            for _ in range(500):
                g = (k * tau2 * gamma[j] + d * gamma_bar) / (k * tau2 + d)
                d = (b + 0.5 * ((part[:, j] - g) ** 2).sum()) / (k / 2 + a - 1)
            expected[centre == c, j] = sigma[j] * (part[:, j] - g) / np.sqrt(d) + alpha[j]
    assert Harmoniser.fit(data).transform(data).features == pytest.approx(expected, abs=1e-6)


def test_removes_a_shift_and_a_scale_between_centres():
    data = two_centres(n=400)
    after = Harmoniser.fit(data).transform(data).features
    centre = data.table["centre"].to_numpy()
    a, b = after[centre == "A"], after[centre == "B"]
    raw = data.features[centre == "A"].mean(axis=0) - data.features[centre == "B"].mean(axis=0)
    left = (a.mean(axis=0) - b.mean(axis=0)) / a.std(axis=0)
    assert np.abs(raw / a.std(axis=0)).min() > 0.5 and np.abs(left).max() < 0.2
    assert a.std(axis=0) / b.std(axis=0) == pytest.approx(np.ones(8), abs=0.1)


def test_an_unseen_or_tiny_centre_keeps_its_values():
    data = two_centres()
    centre = data.table["centre"].to_numpy().astype(object)
    centre[:2] = "C"  # two patients are too few to learn from
    fitted = Harmoniser.fit(patients(data.features, centre))
    assert sorted(fitted.centres) == ["A", "B"]
    new = patients(data.features, np.full(40, "D"))
    assert (fitted.transform(new).features == new.features).all()
    alone = patients(data.features, np.full(40, "A"))
    assert (Harmoniser.fit(alone).transform(alone).features == alone.features).all()


def test_missing_values_stay_missing_and_constants_stay():
    data = two_centres()
    values = data.features.copy()
    values[0, 0], values[:, 3] = np.nan, 7.0
    data = patients(values, data.table["centre"].to_numpy())
    after = Harmoniser.fit(data).transform(data).features
    assert np.isnan(after[0, 0]) and np.isfinite(np.delete(after, 0, axis=1)).all()
    assert (after[:, 3] == 7.0).all()
