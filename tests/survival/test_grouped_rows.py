"""Rows of one group (slices of a volume) are in one inner fold, and tests do not count them as independent."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.settings.models import read_model
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.patients import Patients
from pipeline.survival.penalised import cross_validate
from pipeline.survival.permutation_test import no_test_reason
from pipeline.survival.preprocessing import fit_preprocessed
from pipeline.survival.selection import tune
from pipeline.survival.survival_probabilities import cross_fit
from pipeline.tables.splits import Fold, Splits

SLICES = 8


def slices_of_noise(seed, volumes=40, columns=12):
    """Eight slices of each volume, nearly alike, with one outcome that has nothing to do with them."""
    generator = np.random.default_rng(seed)
    time, censored = generator.exponential(900, volumes), generator.uniform(100, 3000, volumes)
    volume = np.repeat(np.arange(volumes), SLICES)
    table = pd.DataFrame(
        {
            "time_days": np.minimum(time, censored)[volume],
            "event": (time <= censored).astype(int)[volume],
            "centre": "A",
            "group": [f"v{number}" for number in volume],
        },
        index=[f"P{row:03d}" for row in range(len(volume))],
    )
    features = generator.normal(size=(volumes, columns))[volume]
    features += 0.1 * generator.normal(size=features.shape)
    order = generator.permutation(len(volume))
    return Patients(table, features, tuple(f"pet_f{i}" for i in range(columns))).pick(order)


def watching(fit, whole, fitted_on):
    """A fit that notes which groups it is fitted on, and refuses those that are not whole."""

    def watch(part):
        sizes = part.table["group"].value_counts()
        assert set(sizes) == {SLICES}, "an inner fold cuts a group"
        assert 0 < len(part) < len(whole)
        fitted_on.append(set(sizes.index))
        return fit(part)

    return watch


def first_feature(_):
    return FittedModel(lambda patients: patients.features[:, 0])


def test_tuning_and_cross_fitting_cut_no_group():
    train, tuned, fitted = slices_of_noise(0), [], []
    tune([1, 2], watching(lambda part: first_feature, train, tuned), train, 5, seed=3)
    assert cross_fit(watching(first_feature, train, fitted), train, seed=3) is not None
    assert (len(tuned), len(fitted)) == (5, 4)


def test_the_choice_of_a_penalty_cuts_no_group(monkeypatch):
    from pipeline.survival import penalised

    train, fitted = slices_of_noise(0, columns=3), []
    monkeypatch.setattr(
        penalised, "offered_design",
        lambda settings, part, design=penalised.offered_design: watching(
            lambda rows: design(settings, rows), train, fitted
        )(part),
    )  # fmt: skip
    settings = read_model({"kind": "lasso_cox", "inner_folds": 5})
    cross_validate(settings, train, Context(3), np.array([0.3, 0.1]))
    assert len(fitted) == 5


def test_no_more_inner_folds_than_groups_with_the_event():
    """24 rows with the event, of three volumes: three inner folds; eight of one volume: none."""
    train = slices_of_noise(1)
    for volumes, folds in ((3, 3), (1, 0)):
        train.table["event"] = train.table["group"].isin([f"v{i}" for i in range(volumes)]).astype(int)
        fitted = []
        scores = cross_fit(watching(first_feature, train, fitted), train, seed=0)
        assert len(fitted) == folds and (scores is None) == (folds == 0)
    with pytest.raises(ModelError, match="too few events to tune.*of different groups"):
        tune([1, 2], lambda part: first_feature, train, 5, seed=3)
    with pytest.raises(ModelError, match="too few events to choose a penalty.*of different groups"):
        cross_validate(read_model({"kind": "lasso_cox"}), train, Context(3), np.array([0.3, 0.1]))


def test_slices_of_noise_are_a_coin_toss():
    """Dealt row by row, a model would have seen seven slices of the volume of each that it scores: C = 0.7."""
    settings = read_model({"kind": "survival_svm", "weights": [1e-2]})
    values = []
    for seed in range(6):
        data = slices_of_noise(seed)
        scores = cross_fit(lambda part: fit_preprocessed(settings, part, Context(0)), data, seed)
        values.append(concordance_index(data.time, data.event.astype(float), scores))
    assert np.mean(values) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(("volumes", "events", "words"), [
    (40, 40, "no p-value: rows of one group are not independent"),
    (40, 9, "9 groups with an event: not estimated"),
])  # fmt: skip
def test_risk_groups_of_slices_are_not_tested(volumes, events, words):
    patients = slices_of_noise(2, volumes)
    patients.table["event"] = patients.table["group"].isin([f"v{i}" for i in range(events)]).astype(int)
    ids = list(patients.table.index)
    halves = Splits(
        (Fold(tuple(ids[160:]), (), tuple(ids[:160])), Fold(tuple(ids[:160]), (), tuple(ids[160:]))), (), 0
    )
    assert no_test_reason(read_model({"kind": "lasso_cox"}), patients, halves, 9) == words


def test_patients_whom_repeated_folds_hold_out_twice_are_tested(make_study):
    study = make_study()
    twice = Splits(study.folds.folds * 2, study.folds.external, 0)
    assert no_test_reason(read_model({"kind": "lasso_cox"}), study.patients(), twice, 9) == ""
