"""The paper's page: cells whose numbers are counted by hand, refused studies, LaTeX, histories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import SettingsError
from pipeline.report import paper_tables
from pipeline.report.job import ReportJob
from pipeline.report.page import ReportContent
from pipeline.report.page_table import latex
from pipeline.report.paper import draw_histories
from pipeline.report.paper_cells import CellReader, read_tables
from pipeline.report.sections import StudyResults
from pipeline.report.style import FigureCanvas
from pipeline.settings.paper import CellSource, HistoryPanel, PrintedPValue
from pipeline.settings.root import Settings, load_settings
from pipeline.tables.splits import Fold, Splits
from tests.report.synthetic_study import CODE
from tests.settings.minimal import study as minimal_study

# Four training and three external images, all with an event; risk 4 … 1 would be perfect.
TIMES = {"T1": 1.0, "T2": 2.0, "T3": 3.0, "T4": 4.0, "E1": 1.0, "E2": 2.0, "E3": 3.0}
COLUMNS = {
    "c_train": {"title": "C-index, training", "metric": "c_index", "set": "train"},
    "c_test": {"title": "C-index, test", "metric": "c_index", "set": "external", "each_run": True},
    "dice": {
        "title": "Dice, test",
        "metric": "dice",
        "set": "external",
        "each_run": True,
        "spread": "sd_of_patients",
    },
    "c_mean": {"title": "C-index of the mean", "metric": "c_index", "set": "external"},
    "c_north": {
        "title": "C-index, north",
        "metric": "c_index",
        "set": "external",
        "each_run": True,
        "subgroup": "centre=north",
    },
}
ROWS: list[dict[str, Any]] = [
    {
        "title": "Net",
        "model": "net",
        "printed": {"c_train": 0.9, "c_test": 0.8, "dice": {"value": 0.95, "sd": 0.02}, "c_mean": None},
    },
    {"title": "Plain_1", "model": "plain", "printed": {"c_test": 0.7, "c_north": 0.71}},
]


def paper_of(rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "source": "a paper",
        "tables": {"table_1": {"title": "Table 1", "columns": COLUMNS, "rows": rows, **more}},
    }


def settings_of(rows: list[dict[str, Any]] = ROWS, **sections: Any) -> Settings:
    whole = {
        "cohort": {"source": "generated", "time_unit": "none"},
        "disks": {},
        "plan": {"folds": 1, "repeats": 2},
        "models": {"net": {"kind": "sr_net"}, "plain": {"kind": "feature"}},
        "evaluation": {"horizons_days": [2.0], "subgroups": ["centre"]},
        "paper": paper_of(rows),
    }
    return load_settings(minimal_study(**{**whole, **sections}))


@pytest.fixture
def study(tmp_path: Path) -> StudyResults:
    for run, risk in enumerate(([4.0, 3, 2, 1, 3, 2, 1], [4.0, 3, 1, 2, 1, 2, 3])):
        for model in ("net", "plain"):
            table = pd.DataFrame(
                {"patient_id": list(TIMES), "set": ["train"] * 4 + ["external"] * 3, "risk": risk}
            )
            if model == "net":
                table["dice"] = [float("nan")] * 4 + [0.9, 0.95 + 0.01 * run, 1.0]
            folder = tmp_path / "models" / model / f"fold{run}"
            folder.mkdir(parents=True)
            table.to_parquet(folder / "predictions.parquet", index=False)
            (folder / "history.csv").write_text(
                "iteration,set,loss,loss_cox\n"
                + "".join(
                    f"{i},{name},{2 - i / 10 + run},1\n" for i in (1, 2) for name in ("train", "validation")
                )
            )
    cohort = pd.DataFrame({"time_days": TIMES, "event": 1}).assign(centre=["north"] * 6 + ["south"])
    cohort.index.name = "patient_id"
    metrics = pd.DataFrame(
        [["net", "external", "c_index", 0.75, 0.5, 0.9, 3, 3, ""]],
        columns=["model", "set", "metric", "value", "ci_low", "ci_high", "patients", "events", "note"],
    )
    job = ReportJob(tmp_path, settings_of(), CODE, tuple(TIMES))
    return StudyResults(job, cohort, metrics, Splits((Fold(("T1",), (), ()),), ("E1",), 0))


def test_cells_are_means_of_runs_or_the_headline(study: StudyResults) -> None:
    assert study.job.settings.paper is not None
    cells = read_tables(study.job.settings.paper, study).set_index(["row", "column"])
    # Training: 6 of 6 pairs, then 5 of 6 (T3 and T4 change places). External: 3 of 3, then none.
    assert cells.loc[("Net", "c_train"), "ours"] == pytest.approx((1 + 5 / 6) / 2)
    assert cells.loc[("Net", "c_test"), "ours"] == pytest.approx(0.5)
    # SD of 1 and 0 with n − 1.
    assert cells.loc[("Net", "c_test"), "ours_spread"] == pytest.approx(0.5**0.5)
    assert cells.loc[("Net", "dice"), "ours"] == pytest.approx((0.95 + (0.9 + 0.96 + 1) / 3) / 2)
    # SD over the images of a run, n − 1: 0.05 of 0.90, 0.95, 1.00 in the first.
    spread = (0.05 + pd.Series([0.9, 0.96, 1]).std()) / 2
    assert cells.loc[("Net", "dice"), "ours_spread"] == pytest.approx(spread)
    assert tuple(cells.loc[("Net", "c_mean"), ["ours", "ci_low", "ci_high"]]) == (0.75, 0.5, 0.9)
    # North are E1 and E2: their one pair is right, then wrong.
    assert cells.loc[("Plain_1", "c_north"), "ours"] == pytest.approx(0.5)
    assert cells.loc[("Plain_1", "c_north"), "patients"] == "2"


def test_the_table_is_printed_as_the_papers(study: StudyResults) -> None:
    paper = study.job.settings.paper
    assert paper is not None
    table = paper.tables["table_1"]
    cells = read_tables(paper, study)
    shown = paper_tables.flat(paper_tables.printed_table(table, cells)).set_index("")
    assert shown.loc["Net", "Dice, test, published"] == "0.950 ± 0.020"
    assert shown.loc["Net", "Dice, test, ours"] == "0.952 ± 0.050"
    assert shown.loc["Net", "C-index of the mean, published"] == "–"
    assert shown.loc["Net", "C-index of the mean, ours"] == "0.750 (0.50–0.90)"
    assert shown.loc["Plain_1", "Dice, test, ours"] == "/", "the paper prints none"
    assert shown.loc["Patients (events) of ours", "C-index, test, ours"] == "3 (3)"
    text = latex(paper_tables.printed_table(table, cells))
    assert r"Plain\_1" in text and r"0.952 $\pm$ 0.050" in text and r"\multicolumn{2}{c}{Dice, test}" in text
    note = paper_tables.table_note(table, cells, 0.95)
    assert "95% bootstrap" in note and "SD over patients (2 runs)" in note


def test_a_cell_without_a_number_says_why(study: StudyResults) -> None:
    rows = [{"title": "Plain", "model": "plain", "printed": {"c_mean": 0.7}}]
    paper = settings_of(rows).paper
    assert paper is not None
    cells = read_tables(paper, study)
    assert cells["ours"].isna().all()
    assert "plain has no c_index of external patients" in paper_tables.table_note(
        paper.tables["table_1"], cells, 0.95
    )


def test_p_values_stand_beside_the_printed_ones_whichever_way_round() -> None:
    names = [
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
    nothing = [np.nan] * 5
    comparisons = pd.DataFrame(
        [
            ["a", "b", "listed pairs", "development", "c_index", 0.1, 0.02, 0.2, 0.01, 0.02, np.nan],
            ["a", "b", "all against b", "development", "c_index", 0.3, 0.02, 0.2, 0.5, 0.5, np.nan],
            ["a", "b", "listed pairs", "external", "c_index", *nothing, "6 events: not estimated"],
        ],
        columns=names,
    )
    printed = (
        PrintedPValue(models=("b", "a"), printed="> 0.05"),
        PrintedPValue(models=("b", "a"), set="external", printed="0.027"),
        PrintedPValue(models=("a", "c"), printed="0.027"),
    )
    table = paper_tables.p_value_table(printed, comparisons)
    row, too_few, missing = table.to_dict("records")
    assert (row["difference"], row["ci_low"], row["ci_high"]) == (-0.1, -0.2, -0.02)
    assert (row["p_value"], row["p_holm"], row["p_published"]) == (0.01, 0.02, "> 0.05")
    assert too_few["note"] == "6 events: not estimated" and missing["note"] == paper_tables.NOT_COMPARED
    assert paper_tables.p_values_left_out(table) == (
        "b − a, c index, external: 6 events: not estimated. "
        "a − c, c index, development: the study does not compare the two."
    )


def test_histories_of_two_networks_stand_in_one_axis(study: StudyResults, tmp_path: Path) -> None:
    panel = HistoryPanel(title="(a)", models=("net", "plain"), terms=("cox",), sets=("train", "validation"))
    canvas = FigureCanvas(tmp_path / "figures", "")
    file = draw_histories(study, "figure_5", (panel,), canvas)
    assert file == "paper_figure_5.svg"
    text = (tmp_path / "figures" / file).read_text()
    assert text.count("net, training") == 1 and text.count("plain, validation") == 1
    nothing = HistoryPanel(title="(a)", models=("net",), terms=("dice",))
    assert draw_histories(study, "figure_6", (nothing,), canvas) is None
    assert ReportContent().paper is None


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([{"title": "R", "model": "nets", "printed": {"dice": 0.7}}], {}, "'nets', which is no model"),
        (
            [{"title": "R", "model": "plain", "printed": {"dice": 0.7}}],
            {},
            "'plain' has no dice, since it predicts no mask",
        ),
        ([{"title": "R", "printed": {"dice": 0.7}}], {}, "neither row nor column says model"),
        (
            [{"title": "R", "model": "net", "printed": {"dise": 0.7}}],
            {},
            "columns that the table lacks: dise",
        ),
        (
            [{"title": "R", "model": "net", "metric": "c_index", "printed": {"dice": 0.7}}],
            {},
            "differ in metric",
        ),
        (
            [{"title": "R", "model": "net", "printed": {"c_north": 0.7}}],
            {"evaluation": {"horizons_days": [2.0]}},
            "evaluation.subgroups does not name",
        ),
        (
            [{"title": "R", "model": "net", "subgroup": "centre=a", "set": "test", "printed": {"dice": 0.7}}],
            {},
            "differ in set",
        ),
        ([ROWS[0], ROWS[0]], {}, "several rows with the title 'Net'"),
        (
            ROWS,
            {"paper": {"source": "a paper", "tables": {"table_1": {
                "title": "Table 1", "rows": ROWS, "columns": {**COLUMNS, "again": COLUMNS["dice"]}}}}},
            "several columns with the title 'Dice, test'",
        ),
        (
            ROWS,
            {"paper": {"source": "a paper", "tables": {"table_1": {
                "title": "Table 1", "columns": {"plain": {"title": "Ours"}},
                "rows": [{"title": "R", "model": "net", "metric": "dice_agg", "set": "external", "each_run": True,
                          "spread": "sd_of_patients", "printed": {"plain": 0.7}}]}}}},
            "single patients have no dice_agg",
        ),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_filled_is_refused(
    rows: list[dict[str, Any]], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of(rows, **more)


def test_aggregated_dice_of_runs_has_no_spread_over_patients(study: StudyResults) -> None:
    """2Σ|A∩B| / Σ(|A|+|B|) of the three external images by hand: 2 (1 + 2 + 3) / (4 + 4 + 8) = 0.75."""
    unknown = [float("nan")] * 4
    for run in range(2):
        path = study.job.results / "models" / "net" / f"fold{run}" / "predictions.parquet"
        table = pd.read_parquet(path)
        table["overlap_voxels_union"] = [*unknown, 1, 2, 3]
        table["size_voxels_union"] = [*unknown, 4, 4, 8]
        table.to_parquet(path, index=False)
    cell = CellReader(study).read(CellSource(model="net", metric="dice_agg", set="external", each_run=True))
    assert cell.value == pytest.approx(0.75) and cell.spread == 0 and cell.runs == 2


def test_printed_p_values_are_of_compared_pairs() -> None:
    values = [{"models": ["net", "plain"], "printed": "0.01"}]
    with pytest.raises(SettingsError, match=r"add \['net', 'plain'\] to evaluation.comparisons"):
        settings_of(paper=paper_of(ROWS, p_values=values))
    compared = {"horizons_days": [2.0], "subgroups": ["centre"], "comparisons": [["plain", "net"]]}
    settings_of(paper=paper_of(ROWS, p_values=values), evaluation=compared)
    with pytest.raises(SettingsError, match="is no pair, or stands twice"):
        settings_of(evaluation={**compared, "comparisons": [["plain", "net"], ["net", "plain"]]})


def test_a_figure_names_networks_and_terms_that_there_are() -> None:
    def figure(**panel: Any) -> dict[str, Any]:
        shown = {"title": "(a)", "models": ["net"], **panel}
        return {**paper_of(ROWS), "figures": {"figure_5": {"title": "Figure 5", "panels": [shown]}}}

    settings_of(paper=figure(terms=["cox", "dice"]))
    with pytest.raises(SettingsError, match="the loss of 'net' has no term 'reconstruction'"):
        settings_of(paper=figure(terms=["reconstruction"]))
    with pytest.raises(SettingsError, match="'plain', which is no network"):
        settings_of(paper=figure(models=["plain"]))


def test_a_study_may_take_the_paper_of_another(tmp_path: Path) -> None:
    path = tmp_path / "whole.yaml"
    path.write_text("paper: {source: a paper}\n")
    settings = load_settings(minimal_study(paper=str(path)))
    assert settings.paper is not None and settings.paper.source == "a paper"
    path.write_text("study: {name: whole}\n")
    with pytest.raises(SettingsError, match="has no section of that name"):
        load_settings(minimal_study(paper=str(path)))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(minimal_study(paper=str(tmp_path / "absent.yaml")))
