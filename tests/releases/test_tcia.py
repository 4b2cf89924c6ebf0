"""Head-Neck-PET-CT of TCIA: workbooks as they come, and outcomes by hand."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import pytest
import yaml

from pipeline.errors import TableError
from pipeline.releases.draft_release import draft_release
from pipeline.releases.sheets import read_sheets
from pipeline.workflow.study import load_study
from tests.releases.write_xlsx import Cell, write_xlsx

# The columns of INFOclinical_HN_Version2_30may2018.xlsx, with its dashes and spaces.
COLUMNS = ["Patient #", "Sex", "Age", "Primary Site", "T-stage", "HPV status",
           "Time – diagnosis to last follow-up(days)", "Locoregional", "Distant", "Death",
           "Time – diagnosis to LR (days)", "Time – diagnosis to DM (days)",
           "Time – diagnosis to Death (days)"]  # fmt: skip
BOTH_RECUR = ["HN-HGJ-003", "M", 70, "Larynx", "T3", "N/A", 1500, 1, 1, 0, 700, 500, None]
CLINICAL: dict[str, list[list[Cell]]] = {
    "HGJ": [COLUMNS, BOTH_RECUR, [None], ["Notes", "times are since diagnosis"]],
    "CHUM": [
        COLUMNS,
        ["HN-CHUM-001", "F", 61, "Oropharynx", "T2", "+", 900, 1, 0, 1, 300, None, 900],
        ["HN-CHUM-002", "M", 55.5, "Oropharynx", "T1", "-", 1200, 0, 0, 0, None, None, None],
    ],
    "HMR": [COLUMNS, ["HN-HMR-004", "M", 50, "Larynx", "T1", "-", 800, 0, 0, 0, None, None, None]],
    "Excluded": [COLUMNS[:2], ["HN-CHUS-006", "M"]],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "tcia"
    write_xlsx(root / "INFOclinical.xlsx", CLINICAL)
    write_xlsx(
        root / "INFO_GTVcontours_HN.xlsx",
        {"CHUM": [["Patient", "Name GTV Primary"], ["HN-CHUM-001", "GTVt 60"], ["HN-CHUM-002", "GTV"]]},
    )
    for name in ("HN-CHUM-001", "HN-CHUM-002", "HN-HGJ-003", "HN-HMR-005", "HN-CHUS-006"):
        (root / "Head-Neck-PET-CT" / name).mkdir(parents=True)
    return root


def test_outcomes_by_hand(data: Path, tmp_path: Path) -> None:
    """Recurrence is the first of both; a death without one is censored at the last follow-up."""
    release, files = draft_release("tcia_hnpetct", data, tmp_path / "mine.csv")
    study = load_study(yaml.safe_load(files.study.read_text()))
    outcomes = {p.patient_id: (p.time_days, p.event) for p in study.cohort.patients}
    assert outcomes == {"HN-CHUM-001": (300, 1), "HN-CHUM-002": (1200, 0), "HN-HGJ-003": (500, 1)}
    first = study.cohort["HN-CHUM-001"]
    assert (first.extra["death_time_days"], first.extra["death_event"]) == ("900", "1")
    assert (first.extra["distant_time_days"], first.extra["distant_event"]) == ("900", "0")
    assert (first.centre, first.roi, first.extra["clinical_age"]) == ("CHUM", "GTVt 60", "61")
    assert study.cohort["HN-HGJ-003"].extra["locoregional_time_days"] == "700"
    assert study.cohort["HN-HGJ-003"].extra["clinical_hpv"] == ""
    assert first.image_path == "Head-Neck-PET-CT/HN-CHUM-001" and study.settings.cohort.source == "dicom"
    assert dict(release.left_out) == {
        "HN-CHUS-006": "excluded by the collection's authors",
        "HN-HMR-004": "no images",
        "HN-HMR-005": "no row in a clinical sheet",
    }


def test_sheets_as_csv_say_the_same(data: Path, tmp_path: Path) -> None:
    _, files = draft_release("tcia_hnpetct", data, tmp_path / "a.csv")
    for sheet in read_sheets(data / "INFOclinical.xlsx"):
        with (data / f"{sheet.name}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=";").writerows([sheet.header, *(row.values() for row in sheet.rows)])
    (data / "INFOclinical.xlsx").unlink()
    (data / "Excluded.csv").unlink()
    _, again = draft_release("tcia_hnpetct", data, tmp_path / "b.csv")
    assert files.table.read_text() == again.table.read_text()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["HN-HGJ-003", *BOTH_RECUR[1:7], 2, 1, 0, 700, 500, None], "'locoregional' is not coded 0 and 1"),
        (["HN HGJ 003", *BOTH_RECUR[1:]], "no patient of the collection.*'HN HGJ 003'"),
        (["HN-CHUM-001", *BOTH_RECUR[1:]], "different things of patient 'HN-CHUM-001'"),
    ],
)
def test_what_is_refused(data: Path, tmp_path: Path, row: list[Cell], message: str) -> None:
    write_xlsx(data / "INFOclinical.xlsx", {**CLINICAL, "HGJ": [COLUMNS, row]})
    with pytest.raises(TableError, match=message):
        draft_release("tcia_hnpetct", data, tmp_path / "a.csv")


def test_an_event_without_its_time_leaves_the_patient_out(data: Path, tmp_path: Path) -> None:
    row = [*BOTH_RECUR[:10], None, 500, None]
    write_xlsx(data / "INFOclinical.xlsx", {**CLINICAL, "HGJ": [COLUMNS, row]})
    release, _ = draft_release("tcia_hnpetct", data, tmp_path / "a.csv")
    assert release.left_out["HN-HGJ-003"].startswith("half an outcome: locoregional and its time")


def test_damaged_workbooks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"no zip")
    with pytest.raises(TableError, match="a workbook cannot be read.*save its sheets as CSV"):
        read_sheets(path)
    write_xlsx(path, {"A": [["x", "y"], ["1", 2]]})
    with zipfile.ZipFile(path, "a") as book:
        book.writestr("xl/worksheets/sheet1.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a/>')
    with pytest.raises(TableError, match="declares entities"):
        read_sheets(path)
    write_xlsx(path, {"A": [["x", "y", "x"], ["1", 2, 3]]})
    with pytest.raises(TableError, match="column twice: 'x'"):
        read_sheets(path)
    write_xlsx(path, {"A": [["x", "y"], ["1", 2, 3]]})
    with pytest.raises(TableError, match="more values than the header"):
        read_sheets(path)


def test_times_of_this_collection_are_days(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="the collection's times are days"):
        draft_release("tcia_hnpetct", data, tmp_path / "a.csv", "months")
