"""Listed pairs as printed: those that cannot be compared say why."""

from __future__ import annotations

import pandas as pd

from pipeline.report.pairs_and_subgroups import pairs_on_page

COLUMNS = [
    "model_a",
    "model_b",
    "family",
    "set",
    "metric",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
    "p_holm",
    "note",
]
NAN = float("nan")
COMPARED = ["deep", "volume", "listed pairs", "external", "c_index", 0.1, 0.02, 0.18, 0.01, 0.02, ""]
UNCOMPARED = [
    "masks",
    "part",
    "listed pairs",
    NAN,
    NAN,
    NAN,
    NAN,
    NAN,
    NAN,
    NAN,
    "not compared: other patients",
]


def test_a_pair_that_cannot_be_compared_has_a_row_with_the_reason() -> None:
    shown = pairs_on_page(pd.DataFrame([COMPARED, UNCOMPARED], columns=COLUMNS))
    assert list(shown["Model"]) == ["deep", "masks"] and list(shown["Compared with"]) == ["volume", "part"]
    assert shown["Difference"][1] == "not compared: other patients" and shown["Set"][1] == "–"
    assert shown["Difference"][0].startswith("0.1")


def test_it_is_told_even_where_no_pair_can_be_compared() -> None:
    shown = pairs_on_page(pd.DataFrame([UNCOMPARED], columns=COLUMNS))
    assert shown.to_dict("records") == [
        {"Model": "masks", "Compared with": "part", "Difference": "not compared: other patients"}
    ]
    assert pairs_on_page(pd.DataFrame([], columns=COLUMNS)).empty
