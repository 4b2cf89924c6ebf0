"""Numbers that survival figures read off Kaplan–Meier tables."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from pipeline.report import survival_figures


@pytest.mark.parametrize(
    ("time", "expected"), [(0, 3), (1, 3), (1.01, 2), (3, 2), (4.9, 1), (5, 1), (5.01, 0), (9, 0)]
)
def test_numbers_at_risk(time: float, expected: int) -> None:
    # Patients leave at 1, 3 and 5: at t those count whose time is not before t.
    curve = pd.DataFrame({"time": [0, 1, 3, 5], "at_risk": [3, 3, 2, 1]})
    assert survival_figures.at_risk(curve, time) == expected


def test_survival_is_read_off_the_step_before() -> None:
    curve = pd.DataFrame(
        {"time": [0.0, 1, 3], "survival": [1, 0.5, 0.25], "ci_low": [1, 0.2, 0.1], "ci_high": [1, 0.8, 0.6]}
    )
    assert survival_figures.survival_at(curve, 2.9) == (0.5, 0.2, 0.8)
    assert survival_figures.survival_at(curve, 3) == (0.25, 0.1, 0.6)
    assert math.isnan(survival_figures.survival_at(curve, 3.1)[0]), "unknown after follow-up"
    died = curve.assign(survival=[1, 0.5, 0.0])
    assert survival_figures.survival_at(died, 3.1)[0] == 0, "known where the last patient had the event"


def test_a_curve_ends_where_a_tenth_is_left() -> None:
    curve = pd.DataFrame({"time": [0, 1, 2, 3, 4], "at_risk": [30, 30, 4, 3, 2]})
    assert survival_figures.well_followed(curve) == 4


def test_group_names() -> None:
    assert [survival_figures.group_name(g, 2) for g in (1, 2)] == ["low risk", "high risk"]
    assert survival_figures.group_name(1, 4) == "risk group 1 of 4"
