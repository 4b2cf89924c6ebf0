"""External patients are the mean over folds; what a fold found wrongly is not left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.ensemble.ensemble import _join_folds

NAN = float("nan")


def fold(test: str, probability: float, gtvn: float) -> pd.DataFrame:
    index = pd.Index([test, "E1"], name="patient_id")
    values = {"set": ["test", "external"], "survival_365d": [0.5, probability], "dice_gtvn": [0.8, gtvn]}
    return pd.DataFrame(values, index=index)


def test_a_class_that_one_fold_found_wrongly_counts_with_its_zero() -> None:
    """E1 has no GTVn: fold 0 finds one (Dice 0), the others find none (no Dice); a probability needs all folds."""
    table = _join_folds([fold("A1", 0.6, 0.0), fold("A2", NAN, NAN), fold("A3", 0.8, NAN)]).set_index(
        "patient_id"
    )
    assert table.loc["E1", "dice_gtvn"] == 0.0
    assert np.isnan(table.loc["E1", "survival_365d"])
    assert table.loc["A1", "dice_gtvn"] == pytest.approx(0.8)
    none = _join_folds([fold("A1", 0.6, NAN), fold("A2", 0.7, NAN)]).set_index("patient_id")
    assert np.isnan(none.loc["E1", "dice_gtvn"]) and none.loc["E1", "survival_365d"] == pytest.approx(0.65)
