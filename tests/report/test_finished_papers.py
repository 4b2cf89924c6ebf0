"""The papers' studies of a few iterations that CI runs: each printed cell has a number of ours, or the reason.

Reads `results/{paper}_ci` of this checkout; their numbers say nothing of the papers.
"""

from __future__ import annotations

import html
from pathlib import Path

import pandas as pd
import pytest
import yaml

HOUSE = Path(__file__).resolve().parents[2]
PAPERS = ("disks", "pet_multiscale", "deepmts", "hecktor", "chest_ct")
STUDIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not (HOUSE / f"results/{name}_ci/report/index.html").exists(), reason=f"no finished {name}_ci"
        ),
    )
    for name in PAPERS
]
pytestmark = pytest.mark.finished


def tables_of(name: str, with_column: str) -> pd.DataFrame:
    """Every line of a paper's page: of tables with `ours` the cells, of those with `p_published` the pairs."""
    files = sorted((HOUSE / f"results/{name}_ci/report/tables").glob("paper_*.csv"))
    tables = [pd.read_csv(path, keep_default_na=False, na_values=[""]) for path in files]
    return pd.concat([table for table in tables if with_column in table] or [pd.DataFrame()])


def cells(name: str) -> pd.DataFrame:
    """Every cell of every table of a paper's page."""
    return tables_of(name, "ours")


@pytest.mark.parametrize("name", STUDIES)
def test_every_printed_p_value_has_one_of_ours_or_a_reason(name: str) -> None:
    printed = yaml.safe_load((HOUSE / f"config/studies/papers/{name}.yaml").read_text(encoding="utf-8"))[
        "paper"
    ]["tables"]
    pairs = tables_of(name, "p_published")
    assert len(pairs) == sum(len(table.get("p_values", ())) for table in printed.values())
    if len(pairs):
        assert not len(pairs[pairs["p_value"].isna() & pairs["note"].isna()])
        assert pairs["p_value"].notna().any()


@pytest.mark.parametrize("name", STUDIES)
def test_every_printed_number_has_one_of_ours_or_a_reason(name: str) -> None:
    table = cells(name)
    empty = table[table["ours"].isna() & table["note"].isna()]
    assert not len(empty), empty[["table", "row", "column", "model", "metric"]].to_string()
    # Few iterations and patients: most cells have a number all the same.
    assert table["ours"].notna().mean() > 0.5, table[table["ours"].isna()]["note"].value_counts().to_string()


@pytest.mark.parametrize("name", STUDIES)
def test_every_table_and_row_of_the_paper_is_there(name: str) -> None:
    printed = yaml.safe_load((HOUSE / f"config/studies/papers/{name}.yaml").read_text(encoding="utf-8"))[
        "paper"
    ]
    rows = cells(name).groupby("table")["row"].nunique().to_dict()
    assert rows == {key: len(table["rows"]) for key, table in printed["tables"].items()}
    page = (HOUSE / f"results/{name}_ci/report/paper.html").read_text(encoding="utf-8")
    assert all(
        html.escape(figure["title"]) in page
        for figure in printed.get("figures", {}).values()
        if "title" in figure
    )
