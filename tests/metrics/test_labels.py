"""Class outcomes against scikit-learn, medians of distances by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from pipeline.metrics.labels import Label, label_scores, labels_of, medians

ONCE = np.ones((100, 60))


def made(classes, seed=0, n=60):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, n).astype(float)
    chance = generator.dirichlet(np.ones(classes), n) + 0.3 * np.eye(classes)[truth.astype(int)]
    return Label("label_x", truth, chance / chance.sum(axis=1, keepdims=True))


def scores(label, counts=ONCE, fold=None):
    return {name: (i, n, note) for name, i, n, note in label_scores(label, counts, 0.95, fold)}


def test_two_classes_agree_with_scikit_learn():
    label = made(2)
    found = scores(label)
    called = label.chance[:, 1] > 0.5
    assert found["label_x_accuracy"][0].value == pytest.approx(accuracy_score(label.truth, called))
    assert found["label_x_auc"][0].value == pytest.approx(roc_auc_score(label.truth, label.chance[:, 1]))
    assert found["label_x_f1"][0].value == pytest.approx(f1_score(label.truth, called))


def test_several_classes_are_macro_averages():
    label = made(3)
    found, called = scores(label), label.chance.argmax(axis=1)
    expected = roc_auc_score(label.truth, label.chance, multi_class="ovr", average="macro")
    assert found["label_x_auc"][0].value == pytest.approx(expected)
    assert found["label_x_f1"][0].value == pytest.approx(f1_score(label.truth, called, average="macro"))


def test_a_resample_is_its_patients_repeated():
    label = made(2)
    counts = np.random.default_rng(1).multinomial(60, np.ones(60) / 60, size=1).astype(float)
    drawn = np.repeat(np.arange(60), counts[0].astype(int))
    found = scores(label, np.repeat(counts, 100, axis=0))
    assert found["label_x_auc"][0].low == pytest.approx(
        roc_auc_score(label.truth[drawn], label.chance[drawn, 1])
    )
    assert found["label_x_f1"][0].high == pytest.approx(
        f1_score(label.truth[drawn], label.chance[drawn, 1] > 0.5)
    )


def test_pairs_of_two_folds_do_not_count():
    label = made(2)
    fold = np.arange(60) % 2
    aucs, weights = [], []
    for k in (0, 1):
        truth, chance = label.truth[fold == k], label.chance[fold == k, 1]
        aucs.append(roc_auc_score(truth, chance))
        weights.append(truth.sum() * (1 - truth).sum())
    shifted = Label("label_x", label.truth, label.chance.copy())
    shifted.chance[fold == 0] = np.clip(shifted.chance[fold == 0] ** 3, 0, 1)
    assert scores(label, fold=fold)["label_x_auc"][0].value == pytest.approx(
        np.average(aucs, weights=weights)
    )


def test_missing_labels_and_one_class_are_told():
    label = made(2)
    label.truth[:] = 1
    assert scores(label)["label_x_auc"][2] == "only one class occurs"
    label.truth[:] = np.nan
    assert scores(label)["label_x_f1"][1:] == (0, "no patient has label and prediction")


def test_labels_are_matched_by_name():
    outcomes = pd.DataFrame({"label_a": [0, 1.0], "label_b": [2.0, np.nan], "label_t": ["x", "y"], "age": 1})
    table = pd.DataFrame({"label_a": [0.1, 0.8], **{f"label_b_{k}": [0.2, 0.3] for k in range(3)}, "risk": 0})
    found = labels_of(table, outcomes)
    assert [(label.name, label.chance.shape) for label in found] == [("label_a", (2, 2)), ("label_b", (2, 3))]
    assert found[0].chance[:, 1] == pytest.approx([0.1, 0.8])


def test_median_distance_by_hand():
    values = np.array([3.0, np.nan, 1.0, 9.0, np.inf])
    ((name, interval, n, note),) = medians({"hd95_mm": values}, np.ones((100, 5)), 0.95)
    assert (name, interval.value, n, note) == ("hd95_mm", 6.0, 4, "median; one mask is empty in 1 patients")
    assert (interval.low, interval.high) == (3.0, 3.0)  # the lower of two middle patients
