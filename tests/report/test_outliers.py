"""Which patients are to be inspected first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.report.outliers import modified_z, rank_outliers


def test_modified_z_by_hand() -> None:
    # Median 3, deviations 2, 1, 0, 1, 97; their median (MAD) is 1: z = 0.6745 (x − 3).
    z_scores = modified_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0, np.nan]))
    assert z_scores[:5] == pytest.approx([-1.349, -0.6745, 0.0, 0.6745, 65.4265])
    assert np.isnan(z_scores[5])
    # Most are equal (MAD 0): mean deviation 2 of five, z = (x − 1) / (1.2533 × 2).
    assert modified_z(np.array([1.0, 1.0, 1.0, 1.0, 11.0]))[4] == pytest.approx(10 / (1.253314 * 2))
    assert modified_z(np.ones(6)).tolist() == [0.0] * 6
    # of four patients none is called far from the others
    assert modified_z(np.array([1.0, 1.0, 2.0, 90.0])).tolist() == [0.0] * 4


def test_problems_and_outliers_come_first() -> None:
    facts = pd.DataFrame(
        {
            "overlap": [0.90, 0.91, 0.20, 0.92, 0.99, 0.30],
            "lesion_ml": [10.0, 11.0, 12.0, 9.0, 10.0, 10.5],
        },
        index=list("abcdef"),
    )
    order = rank_outliers(facts)
    assert list(order.index[:2]) == ["c", "f"]
    assert order.loc["c", "flags"] == "Overlap 0.200 is low"
    assert order.loc["f", "flags"] == "Overlap 0.300 is low"
    # Only a low overlap counts.
    assert order.loc["e", "flags"] == ""


def test_far_in_standard_deviations_is_not_enough() -> None:
    """Images of a phantom: all but one imaged in full, one by 98.5 %; and one by 80 %."""
    facts = pd.DataFrame({"imaged": [1.0] * 7 + [0.985, 0.8]}, index=list("abcdefghi"))
    order = rank_outliers(facts)
    assert order.index[0] == "i" and order.loc["i", "flags"] == "Imaged 0.800 is low"
    assert order.loc["h", "flags"] == ""
    # A factor on a logarithmic scale: of 3 and 30 mL among lesions of 10 mL, 6 mL is none.
    lesions = [10.0] * 20 + [6.0, 3.0, 30.0]
    flagged = rank_outliers(pd.DataFrame({"lesion_ml": lesions}))["flags"]
    assert set(flagged[flagged != ""].index) == {21, 22}
