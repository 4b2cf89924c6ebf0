"""Class outcomes against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from pipeline.metrics.labels import Label, label_scores, labels_of

ONCE = np.ones((100, 60))


def made(classes, seed=0, n=60):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, n).astype(float)
    chance = generator.dirichlet(np.ones(classes), n) + 0.3 * np.eye(classes)[truth.astype(int)]
    return Label("label_x", truth, chance / chance.sum(axis=1, keepdims=True))


def scores(label, counts=ONCE, fold=None):
    return {row.metric: row for row in label_scores(label, counts, 0.95, fold)}


def test_two_classes_agree_with_scikit_learn():
    label = made(2)
    rows = scores(label)
    called = label.probability[:, 1] > 0.5
    assert rows["label_x_accuracy"].interval.value == pytest.approx(accuracy_score(label.truth, called))
    assert rows["label_x_auc"].interval.value == pytest.approx(
        roc_auc_score(label.truth, label.probability[:, 1])
    )
    assert rows["label_x_f1"].interval.value == pytest.approx(f1_score(label.truth, called))


def test_several_classes_are_macro_averages():
    label = made(3)
    rows, called = scores(label), label.probability.argmax(axis=1)
    expected = roc_auc_score(label.truth, label.probability, multi_class="ovr", average="macro")
    assert rows["label_x_auc"].interval.value == pytest.approx(expected)
    assert rows["label_x_f1"].interval.value == pytest.approx(f1_score(label.truth, called, average="macro"))
    of_each = [rows[f"label_x_f1_{k}"].interval.value for k in range(3)]
    assert of_each == pytest.approx(f1_score(label.truth, called, average=None))


def test_a_resample_is_its_patients_repeated():
    label = made(2)
    counts = np.random.default_rng(1).multinomial(60, np.ones(60) / 60, size=1).astype(float)
    drawn = np.repeat(np.arange(60), counts[0].astype(int))
    rows = scores(label, np.repeat(counts, 100, axis=0))
    assert rows["label_x_auc"].interval.low == pytest.approx(
        roc_auc_score(label.truth[drawn], label.probability[drawn, 1])
    )
    assert rows["label_x_f1"].interval.high == pytest.approx(
        f1_score(label.truth[drawn], label.probability[drawn, 1] > 0.5)
    )


def test_pairs_of_two_folds_do_not_count():
    label = made(2)
    fold = np.arange(60) % 2
    aucs, weights = [], []
    for k in (0, 1):
        truth, chance = label.truth[fold == k], label.probability[fold == k, 1]
        aucs.append(roc_auc_score(truth, chance))
        weights.append(truth.sum() * (1 - truth).sum())
    shifted = Label("label_x", label.truth, label.probability.copy())
    shifted.probability[fold == 0] = np.clip(shifted.probability[fold == 0] ** 3, 0, 1)
    assert scores(label, fold=fold)["label_x_auc"].interval.value == pytest.approx(
        np.average(aucs, weights=weights)
    )


def test_missing_labels_and_one_class_are_reported():
    label = made(2)
    label.truth[:] = 1
    assert scores(label)["label_x_auc"].note == "only one class occurs"
    label.truth[:] = np.nan
    row = scores(label)["label_x_f1"]
    assert (row.patients, row.note) == (0, "no patient has label and prediction")


def test_a_class_of_few_patients_is_told():
    label = made(2)
    assert scores(label)["label_x_auc"].note == ""
    label.truth[:] = np.arange(60) < 9
    assert scores(label)["label_x_auc"].note == "9 patients of class 1: uncertain"
    label.truth[9] = 1
    assert scores(label)["label_x_accuracy"].note == ""


def test_labels_are_matched_by_name():
    outcomes = pd.DataFrame({"label_a": [0, 1.0], "label_b": [2.0, np.nan], "label_t": ["x", "y"], "age": 1})
    table = pd.DataFrame({"label_a": [0.1, 0.8], **{f"label_b_{k}": [0.2, 0.3] for k in range(3)}, "risk": 0})
    rows = labels_of(table, outcomes)
    assert [(label.name, label.probability.shape) for label in rows] == [
        ("label_a", (2, 2)),
        ("label_b", (2, 3)),
    ]
    assert rows[0].probability[:, 1] == pytest.approx([0.1, 0.8])


def test_calibration_of_two_classes_agrees_with_an_unpenalised_logistic_regression():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import brier_score_loss

    label = made(2, seed=3)
    probability = label.probability[:, 1]
    logit = np.log(probability / (1 - probability))
    rows = scores(label)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit[:, None], label.truth)
    assert rows["label_x_calibration_slope"].interval.value == pytest.approx(model.coef_[0, 0], abs=1e-5)
    assert rows["label_x_brier"].interval.value == pytest.approx(brier_score_loss(label.truth, probability))
    # The intercept at a slope of 1: predicted and observed numbers of the class agree there.
    shift = rows["label_x_calibration_intercept"].interval.value
    assert (1 / (1 + np.exp(-logit - shift))).sum() == pytest.approx(label.truth.sum())
    # Patients twice as sure as they should be: the slope is half of what it was.
    sure = Label(
        "label_x",
        label.truth,
        np.column_stack([1 - 1 / (1 + np.exp(-2 * logit)), 1 / (1 + np.exp(-2 * logit))]),
    )
    halved = scores(sure)["label_x_calibration_slope"].interval.value
    assert halved == pytest.approx(model.coef_[0, 0] / 2, abs=1e-5)


def test_probabilities_that_part_the_classes_have_no_slope():
    truth = np.repeat([0.0, 1.0], 30)
    label = Label("label_x", truth, np.column_stack([0.9 - 0.8 * truth, 0.1 + 0.8 * truth]))
    row = scores(label)["label_x_calibration_slope"]
    assert np.isnan(row.interval.value) and "part the classes completely" in row.note
    assert "label_x_calibration_slope" not in scores(made(3))
