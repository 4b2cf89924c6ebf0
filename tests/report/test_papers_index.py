"""docs/papers.md is in step with the studies, and no printed row lacks a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.errors import TableError
from pipeline.report.papers_index import main, page, read_studies
from pipeline.settings.root import Settings

ROOT = Path(__file__).resolve().parents[2]
# Rows, and numbers in them, counted in the printed tables of Meng et al. 2022, Tables II to V.
PRINTED = {
    "deepmts": {"table_2": (10, 20), "table_3": (8, 11), "table_4": (10, 16), "table_5": (4, 6)},
}
# Andrearczyk et al. 2021, Tables 1 and 2; the MIDL 2020 submission, Table 1; Hryniewska-Guzik et al. 2023, Tables 2
# and 3; Amyar et al., Tables 1 to 5, both cancers. None: rows alone are counted.
OTHERS: dict[str, dict[str, tuple[int, int | None]]] = {
    "hecktor": {"table_1": (4, 24), "table_2": (3, 18)},
    "disks": {"table_1": (3, 10)},
    "chest_ct": {"table_2": (2, 10), "table_3": (2, 14)},
    "pet_multiscale": {
        "table_1": (30, None),
        "table_2": (8, 8),
        "table_3": (20, 72),
        "table_4": (10, 50),
        "table_5": (8, 40),
    },
}


SMALL = sorted((ROOT / "config" / "studies" / "papers").glob("*_small.yaml"))


def whole_studies() -> dict[str, Settings]:
    return {studies[0].path.stem: studies[0].settings for studies in read_studies(ROOT)}


def test_the_page_is_in_step_with_the_studies() -> None:
    assert (ROOT / "docs" / "papers.md").read_text() == page(ROOT), "run make settings"


@pytest.mark.parametrize("study", [*PRINTED, *OTHERS])
def test_every_printed_row_has_a_model(study: str) -> None:
    settings = whole_studies().get(study)
    if settings is None and study in OTHERS:
        pytest.skip("the paper's study does not list its tables")
    assert settings is not None and settings.paper is not None
    for key, (rows, numbers) in {**PRINTED, **OTHERS}[study].items():
        # A table that prints two cancers is two tables, `table_1_lung` and `table_1_oesophageal`.
        parts = [part for name, part in settings.paper.tables.items() if f"{name}_".startswith(f"{key}_")]
        lines = [row for part in parts for row in part.rows]
        assert len(lines) == rows, key
        printed = [number for row in lines for number in row.printed.values() if number is not None]
        assert numbers is None or len(printed) == numbers, key
        assert all(row.printed for row in lines), f"{key} has an empty row"


def test_deepmts_has_the_figures_and_p_values_of_the_paper() -> None:
    paper = whole_studies()["deepmts"].paper
    assert paper is not None
    assert list(paper.figures) == ["figure_5", "figure_6", "figure_7"]
    # In the text of section 5: 4 pairs on two sets, 6, 4 and 1 on one.
    assert [len(table.p_values) for table in paper.tables.values()] == [8, 6, 4, 1]


@pytest.mark.parametrize("path", SMALL, ids=lambda p: p.stem)
def test_a_small_study_fills_the_tables_of_the_whole_one(path: Path) -> None:
    groups = {study.path.stem: studies[0] for studies in read_studies(ROOT) for study in studies[1:]}
    if path.stem not in groups:
        pytest.skip("its paper lists no tables")
    named = yaml.safe_load(path.read_text())["paper"]
    assert named == groups[path.stem].path.as_posix() or isinstance(named, dict)


def test_measured_numbers_stand_beside_the_printed_ones(tmp_path: Path) -> None:
    (tmp_path / "config" / "studies" / "papers").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    study = {
        "study": {"name": "some"},
        "cohort": {"table": "some.csv"},
        "models": {"volume": {"kind": "feature"}},
        "paper": {
            "source": "A paper",
            "tables": {
                "table_1": {
                    "title": "Table 1",
                    "columns": {"c": {"title": "C-index", "metric": "c_index", "set": "external"}},
                    "rows": [
                        {"title": "Volume", "model": "volume", "printed": {"c": {"value": 0.7, "sd": 0.1}}},
                        {"title": "Other", "model": "volume", "printed": {"c": 0.6}},
                    ],
                }
            },
        },
    }
    (tmp_path / "config" / "studies" / "papers" / "some.yaml").write_text(yaml.safe_dump(study))
    tables = tmp_path / "results" / "some" / "report" / "tables"
    tables.mkdir(parents=True)
    with pytest.raises(TableError, match="no tables of a paper"):
        main([str(tmp_path / "results" / "some")], tmp_path)
    (tables / "paper_table_1.csv").write_text(
        "table,row,column,model,ours,ci_low,ci_high,ours_spread,patients,events,runs\n"
        "table_1,Volume,c,volume,0.65,0.5,0.8,,40,28,0\n"
    )
    main([str(tmp_path / "results" / "some")], tmp_path)
    text = (tmp_path / "docs" / "papers.md").read_text()
    assert (
        "| Volume | `volume` (kind `feature`) | C-index 0.7 ± 0.1 | some: C-index 0.650 (0.50–0.80) [n = 40 (28)] |"
        in text
    )
    assert "| Other | `volume` (kind `feature`) | C-index 0.6 | not run |" in text
