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
