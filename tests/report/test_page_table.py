"""A table as CSV, as LaTeX and as it stands on the page."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.report.page_table import Table, cell_parts


@pytest.fixture
def table() -> Table:
    return Table(
        "Scores",
        pd.DataFrame(
            {
                "Set": ["External", "External", "Development"],
                "Model": ["deep_net", "volume", "deep_net"],
                "Brier, 1 year": ["0.2", "0.3", "0.1"],
                "Skill, 1 year": ["0.0", "0.1", "0.2"],
                "Brier, 2 years": ["0.4", "–", "0.5"],
                "Patients, of 3": [40.0, 40.0, 39.0],
            }
        ),
    )


def test_sets_become_headings_and_the_model_names_the_row(table: Table) -> None:
    layout = table.layout(["1 year", "2 years"])
    assert [group.name for group in layout.groups] == ["External", "Development"]
    assert [row[0] for row in layout.groups[0].rows] == ["deep_net", "volume"]
    assert layout.columns[0].title == "Model"


def test_columns_of_a_time_stand_under_it(table: Table) -> None:
    layout = table.layout(["1 year", "2 years"])
    assert layout.times == ("1 year", "2 years")
    # "Patients, of 3" ends with a comma and a word, but with no time of the study.
    assert [(c.title, c.time) for c in layout.columns[1:]] == [
        ("Brier", "1 year"),
        ("Skill", "1 year"),
        ("Brier", "2 years"),
        ("Patients, of 3", ""),
    ]
    heads = [(head.title, head.columns) for head in layout.upper_head()]
    assert heads == [("Model", 1), ("1 year", 2), ("2 years", 1), ("Patients, of 3", 1)]


def test_a_table_without_sets_has_one_group() -> None:
    layout = Table("Patients", pd.DataFrame({"Patient": ["A1"], "SUVmax": [7.25]})).layout(["1 year"])
    assert layout.groups[0].name == "" and layout.groups[0].rows == (("A1", "7.25"),)
    assert layout.times == () and not layout.searchable


def test_an_estimate_breaks_before_its_interval_only() -> None:
    assert cell_parts("−0.240 (−0.51 to 0.02)") == ("−0.240", "(−0.51 to 0.02)")
    assert cell_parts("0.712 (0.65–0.77) [38]") == ("0.712", "(0.65–0.77)", "[38]")
    assert cell_parts("scanner (north)") == ("scanner (north)",)


def test_latex_escapes_what_latex_reads(table: Table) -> None:
    text = Table("x", pd.DataFrame({"a_b": ["50 % & $x_1$", "−0.5 ± 2–3"]})).latex()
    assert r"50 \% \& \$x\_1\$" in text
    assert r"$-$0.5 $\pm$ 2--3" in text and "a b" in text
    assert table.latex().count(r"\\") == 4
