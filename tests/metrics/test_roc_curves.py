"""ROC curves as scikit-learn and scikit-survival have them; their area is the AUC of the tables."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_curve

from pipeline.metrics.roc_curves import RocCurve, average, curve_within_folds, roc_curve
from tests.metrics.evaluated_study import Study, value


def test_the_curve_is_that_of_scikit_learn_and_ties_are_a_slope():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 2, 60).astype(float)
    score = np.round(truth + generator.normal(size=60), 1)
    ours = roc_curve(score, truth, 1 - truth)
    x, y, _ = sklearn_curve(truth, score, drop_intermediate=False)
    assert ours.false_positive == pytest.approx(x) and ours.true_positive == pytest.approx(y)
    assert ours.area() == pytest.approx(roc_auc_score(truth, score))
    assert roc_curve(score, truth * 0, 1 - truth) is None and roc_curve(score, truth, truth * 0) is None


def test_two_folds_by_hand():
    """Fold 0 is right (area 1), fold 1 is wrong (area 0); the first has two pairs, the second one."""
    score = np.array([3.0, 2, 1, 10, 20])
    truth = np.array([1.0, 0, 0, 1, 0])
    fold = np.array([0, 0, 0, 1, 1])
    curve = curve_within_folds(score, truth, 1 - truth, fold)
    assert curve.area() == pytest.approx(2 / 3)
    # Everywhere the first fold's height is 1 and the second's 0: a step of 2/3 at the start, one of 1/3 at the end.
    assert curve.false_positive.tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert curve.true_positive == pytest.approx([0, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 1])
    # All scores together: of six pairs four, of which three are between folds.
    assert roc_curve(score, truth, 1 - truth).area() == pytest.approx(4 / 6)


def test_the_area_of_an_average_is_the_average_of_areas_with_ties():
    generator = np.random.default_rng(5)
    curves = []
    for n in (7, 12, 30):
        truth = (np.arange(n) % 3 == 0).astype(float)
        curves.append(roc_curve(generator.integers(0, 5, n).astype(float), truth, 1 - truth))
    weights = [3.0, 1.0, 6.0]
    expected = np.average([curve.area() for curve in curves], weights=weights)
    mean = average(curves, weights)
    assert mean.area() == pytest.approx(expected)
    assert (np.diff(mean.true_positive) >= -1e-12).all() and (np.diff(mean.false_positive) >= 0).all()
    diagonal = RocCurve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert diagonal.limits(np.array([0.0, 0.25, 1.0]))[0] == pytest.approx([0, 0.25, 1])


def test_the_areas_written_are_the_aucs_of_the_tables(tmp_path):
    study = Study(tmp_path)
    generator = np.random.default_rng(2)
    label = generator.integers(0, 3, len(study.ids)).astype(float)
    study.cohort["label_kind"] = label
    study.cohort["label_x"] = np.where(generator.uniform(size=len(label)) < 0.1, np.nan, label == 1)
    study.cohort.to_parquet(tmp_path / "cohort.parquet")
    raw = np.eye(3)[label.astype(int)] + generator.uniform(0, 1.5, (len(label), 3))
    columns = {f"label_kind_{k}": (raw / raw.sum(axis=1, keepdims=True))[:, k] for k in range(3)}
    path = study.model("truth", study.hazard, label_x=generator.uniform(size=len(label)), **columns)
    tables = study.run({"truth": path})
    curves = pd.DataFrame(tables["roc_curves"])
    curves["area"] = curves["area"].astype(float)
    areas = curves.groupby(["set", "outcome", "horizon"])["area"].agg(["min", "max"])
    assert (areas["min"] == areas["max"]).all()
    for name in ("development", "external"):
        for days in ("365.25", "730.5"):
            expected = value(tables["metrics"], f"auc_{days}d", which=name)
            assert areas.loc[(name, "event", days), "max"] == pytest.approx(expected, abs=1e-8)
        expected = value(tables["metrics"], "label_x_auc", which=name)
        assert areas.loc[(name, "label_x", ""), "max"] == pytest.approx(expected, abs=1e-8)
        of_classes = [areas.loc[(name, f"label_kind_{k}", ""), "max"] for k in range(3)]
        assert np.mean(of_classes) == pytest.approx(value(tables["metrics"], "label_kind_auc", which=name))
    assert set(curves.loc[curves["outcome"] == "label_x", "patients"].astype(int)) == {
        int(study.cohort.loc[study.cohort["set"] == name, "label_x"].notna().sum())
        for name in ("development", "external")
    }
