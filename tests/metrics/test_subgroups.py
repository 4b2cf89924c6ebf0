"""A subgroup's predictions are those of its patients, in every field that there is."""

from dataclasses import fields, is_dataclass, replace

import numpy as np

from pipeline.metrics.labels import Label
from pipeline.metrics.mask_classes import ClassOverlap
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.subgroups import of_members
from pipeline.metrics.time_dependent import SurvivalOutcome
from pipeline.tables.predictions import LESIONS

OF_ALL_PATIENTS = {"model", "set", "caveats", "boxes"}
"""Fields that are the same in a subgroup; boxes are looked up by patient."""
MEMBERS = np.array([True, False, True, True, False, False, True])
N = len(MEMBERS)


def column(offset):
    """A value of its own for each patient, so that another's would be noticed."""
    return offset + np.arange(float(N))


def predictions():
    """Every field holds something of each of seven patients."""
    return Predictions(
        model="net",
        set="development",
        patients=tuple("abcdefg"),
        fold=column(10),
        event=np.ones(N),
        dice=column(20),
        caveats="none",
        overlaps=(
            ClassOverlap("union", column(30), column(40), None),
            ClassOverlap("tumour", column(50), column(60), column(70)),
        ),
        distances={"hd95_mm": column(80)},
        lesions={name: column(80) for name in LESIONS},
        pixels={"pixels": column(90)},
        labels=(Label("label_x", column(100), np.column_stack([column(110), column(120)])),),
    )


def risk_predictions():
    group = np.array(list("uuvvwwx"), dtype=object)
    outcome = SurvivalOutcome.of(column(1), np.ones(N), group)
    with_risk = RiskPredictions.of(predictions(), outcome, column(130), {365.0: column(140)})
    return replace(with_risk, further_survival={180.0: column(150)})


def per_patient(value):
    """All columns of patients within a field, as arrays."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [each for part in value.values() for each in per_patient(part)]
    if is_dataclass(value):
        # The censoring distribution is estimated anew; its length must fit all the same.
        return [each for part in fields(value) for each in per_patient(getattr(value, part.name))]
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return [np.array(value)] if value else []
    return [each for part in value for each in per_patient(part)] if isinstance(value, tuple) else []


def test_every_field_is_cut_to_the_members():
    """A new field that this test does not fill, or that the cut forgets, fails here."""
    for whole in (predictions(), risk_predictions()):
        part = of_members(whole, MEMBERS)
        assert type(part) is type(whole)
        for each in fields(whole):
            before, after = getattr(whole, each.name), getattr(part, each.name)
            if each.name in OF_ALL_PATIENTS:
                assert after is before
                continue
            columns = per_patient(before)
            assert columns and all(len(values) == N for values in columns), f"nothing of {each.name}"
            assert len(per_patient(after)) == len(columns)
            for values, cut in zip(columns, per_patient(after), strict=True):
                assert len(cut) == MEMBERS.sum(), f"{each.name} is not cut"
                if each.name != "outcome":
                    assert (cut == values[MEMBERS]).all(), each.name
        if isinstance(part, RiskPredictions):
            assert list(part.outcome.time) == [1, 3, 4, 7] and list(part.outcome.group) == list("uvvx")


def test_a_column_that_a_model_lacks_stays_absent():
    part = of_members(Predictions("m", "external", tuple("abcdefg"), None), MEMBERS)
    assert (part.patients, part.fold, part.event, part.dice) == (tuple("acdg"), None, None, None)
    assert (part.overlaps, part.pixels, part.distances, part.labels) == ((), {}, {}, ())
