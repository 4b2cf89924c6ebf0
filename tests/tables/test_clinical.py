"""Clinical columns: everything learned comes from the table given to `fit`."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.tables.clinical import ClinicalEncoder

TRAIN = pd.DataFrame(
    {"clinical_age": [50.0, 60.0, np.nan, 70.0], "clinical_sex": ["M", "F", "M", None]}, index=list("abcd")
)


def test_values_by_hand() -> None:
    encoder = ClinicalEncoder.fit(TRAIN, ["clinical_age", "clinical_sex"])
    out = encoder.transform(TRAIN)
    # Median 60 fills the gap: 50, 60, 60, 70 have mean 60 and population SD sqrt(50).
    assert out["clinical_age"].tolist() == pytest.approx([-10 / 50**0.5, 0, 0, 10 / 50**0.5])
    assert list(out) == ["clinical_age", "clinical_sex=F"]
    assert out["clinical_sex=F"].tolist() == [0, 1, 0, 0]


def test_other_patients_change_nothing_and_unseen_levels_are_the_reference() -> None:
    encoder = ClinicalEncoder.fit(TRAIN, ["clinical_sex", "clinical_age"])
    new = pd.DataFrame({"clinical_age": [np.nan], "clinical_sex": ["X"]}, index=["z"])
    assert encoder.transform(new).to_numpy().tolist() == [[0.0, 0.0]]
    again = ClinicalEncoder.from_state(json.loads(json.dumps(encoder.state())))
    assert again == encoder


def test_constant_and_unknown_columns() -> None:
    constant = pd.DataFrame({"clinical_x": [3.0, 3.0]})
    assert ClinicalEncoder.fit(constant, ["clinical_x"]).transform(constant).to_numpy().tolist() == [[0], [0]]
    with pytest.raises(TableError, match="clinical_y.*clinical_x"):
        ClinicalEncoder.fit(constant, ["clinical_y"])


def test_a_column_that_does_not_vary_in_training_says_nothing_of_other_patients() -> None:
    # Nothing is learned of 61 or 90 where all training patients are 60: by hand, 0.
    for value in (60.0, 1e6 + 0.1, float("nan")):
        train = pd.DataFrame({"clinical_age": [value] * 7})
        new = pd.DataFrame({"clinical_age": [61.0, 90.0, float("nan")]})
        encoder = ClinicalEncoder.fit(train, ["clinical_age"])
        assert encoder.transform(new)["clinical_age"].tolist() == [0, 0, 0]
        assert encoder.transform(train)["clinical_age"].tolist() == [0] * 7


def test_an_infinite_number_is_refused_with_its_patient() -> None:
    endless = TRAIN.assign(clinical_age=[50.0, float("inf"), 60.0, 70.0])
    with pytest.raises(TableError, match="clinical_age.*patient b"):
        ClinicalEncoder.fit(endless, ["clinical_age"])
    with pytest.raises(TableError, match="clinical_age.*patient b"):
        ClinicalEncoder.fit(TRAIN, ["clinical_age"]).transform(endless)


def test_a_word_among_many_numbers_is_refused_and_few_coded_levels_are_not() -> None:
    ages = [str(age) for age in range(40, 60)]
    with pytest.raises(TableError, match="20 different numbers, and 'old'"):
        ClinicalEncoder.fit(pd.DataFrame({"clinical_age": [*ages, "old"]}), ["clinical_age"])
    stage = pd.DataFrame({"clinical_t": ["1", "2", "2", "4a", "4b"]})
    assert ClinicalEncoder.fit(stage, ["clinical_t"]).names() == [
        f"clinical_t={v}" for v in ("1", "4a", "4b")
    ]
