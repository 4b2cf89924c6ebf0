"""The cohort table: one message for each way to get it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import TableError
from pipeline.settings.cohort import CohortSettings
from pipeline.tables.clinical import ClinicalEncoder
from pipeline.tables.cohort import read_cohort
from pipeline.tables.numbers import SlipError
from pipeline.tables.outcomes import has_outcomes, outcome_table

HEADER = "patient_id,set,centre,image_path,roi,time_days,event,clinical_stage\n"
GOOD = "P1,development,A,P1,,100,1,2\nP2,external,B,P2,,200.5,0,\n"


def read(tmp_path: Path, text: str, policy="stop", **settings):
    path = tmp_path / "cohort.csv"
    path.write_text(text, encoding="utf-8")
    return read_cohort(CohortSettings(table=str(path), **settings), policy)


def test_reads_rows(tmp_path: Path) -> None:
    cohort = read(tmp_path, HEADER + GOOD)
    assert cohort.ids() == ["P1", "P2"] and cohort.ids("external") == ["P2"]
    assert (cohort["P2"].time_days, cohort["P2"].event) == (200.5, 0)
    table = outcome_table(cohort.patients)
    assert table.loc["P1", "clinical_stage"] == 2.0 and table["clinical_stage"].isna()["P2"]


def test_what_other_programs_write_for_a_missing_number_is_missing(tmp_path: Path) -> None:
    rows = "".join(
        f"P{i},development,A,P{i},,9,1,{v}\n" for i, v in enumerate(["60", "NA", "nan", "", "71.5"])
    )
    table = outcome_table(read(tmp_path, HEADER + rows).patients)
    assert table["clinical_stage"].dtype == "float64"
    assert table["clinical_stage"].isna().tolist() == [False, True, True, True, False]
    words = HEADER + rows.replace("60", "II").replace("71.5", "III")
    levels = outcome_table(read(tmp_path, words).patients)["clinical_stage"]
    assert levels.tolist() == ["II", None, None, None, "III"]


@pytest.mark.parametrize(
    ("texts", "levels"),
    [
        (["low", "unknown", "high", "N/A", "?"], ["low", None, "high", None, None]),
        (["none", "Missing", "some", ".", "-"], ["none", None, "some", None, None]),
        # HPV negative is no missing value where there are positive patients.
        (["+", "-", "", "++", "NA"], ["+", "-", None, "++", None]),
    ],
)
def test_a_word_for_an_unknown_level_is_no_level_that_a_model_learns(
    tmp_path: Path, texts: list[str], levels: list[str | None]
) -> None:
    rows = "".join(f"P{i},development,A,P{i},,9,1,{v}\n" for i, v in enumerate(texts))
    table = outcome_table(read(tmp_path, HEADER + rows).patients)
    assert table["clinical_stage"].tolist() == levels
    encoder = ClinicalEncoder.fit(table, ["clinical_stage"])
    known = sorted({level for level in levels if level})
    assert len(encoder.names()) == len(known) - 1
    assert encoder.transform(table).iloc[[levels.index(None)]].to_numpy().sum() == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("event", "evnt") + GOOD, "unknown name: 'evnt'.*did you mean 'event'"),
        (
            HEADER.replace("time_days,", "") + GOOD.replace("100,", "").replace("200.5,", ""),
            "lacks a column: time_days",
        ),
        (HEADER + GOOD.replace("100", "0"), "line 2.*got: 0"),
        (HEADER + GOOD.replace("100", "-5"), "must be greater than 0"),
        (HEADER + GOOD.replace("100", "nan"), "must be a number"),
        (HEADER + GOOD.replace("100", "1_0"), "must be a number.*'1_0'"),
        (HEADER + GOOD.replace("100", "\u0661\u0660"), "must be a number"),
        (HEADER + GOOD.replace("100", "1e308"), "longer than a life.*at most 54,787 days"),
        (HEADER + GOOD.replace("100", "54788"), "longer than a life.*got: 54788 days"),
        (HEADER + GOOD.replace("100", "2021-03-04"), "must be a number.*a date"),
        (HEADER + GOOD.replace("100", '"12,5"'), "must be a number.*a decimal comma"),
        (HEADER + GOOD.replace(",1,2", ",2,2"), "'event' must be 0 or 1.*got: '2'"),
        (HEADER + GOOD.replace("external", "test"), "'set' has an unknown value.*'test'"),
        (HEADER + GOOD.replace("P2,external", "p1,external"), "same patient_id"),
        (HEADER + GOOD.replace("P2,external", "../P2,external"), "not safe in file names"),
        (HEADER + GOOD + "P3,external\n", "another number of fields.*|line 4"),
        (HEADER, "no rows"),
        (HEADER.replace(",", ";") + GOOD.replace(",", ";"), "separated by semicolons"),
        (HEADER.replace("clinical_stage", "event") + GOOD, "a column twice: 'event'"),
        # lung$status of R's survival package: 1 = censored, 2 = dead.
        (HEADER + GOOD.replace(",1,2", ",2,2").replace(",0,", ",1,"), "coded 1 and 2"),
        (HEADER + GOOD.replace("200.5,0,", "200.5,0,unknown"), "line 3.*got: 'unknown'"),
        (HEADER + GOOD.replace("200.5,0,", '200.5,0,"61,5"'), "line 3.*decimal point.*got: '61,5'"),
        (HEADER + GOOD.replace("A,P1", "A,"), "'image_path' is empty.*line 2"),
        (HEADER + GOOD.replace("B,P2", "B,./P1/"), "'P1' and 'P2' have the same images.*lines 2 and 3"),
        (HEADER + ",,,,,,,\n" + GOOD.replace("200.5", "-5"), "line 4.*got: -5"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(tmp_path, text)


def test_missing_table_says_how_to_draft_one(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="suvival draft"):
        read_cohort(CohortSettings(table=str(tmp_path / "none.csv")))


def test_a_bad_value_leaves_out_only_its_patient(tmp_path: Path) -> None:
    cohort = read(tmp_path, HEADER + GOOD.replace("100", "0"), policy="exclude")
    assert cohort.ids() == ["P2"]
    assert "greater than 0" in cohort.problems["P1"]


@pytest.mark.parametrize(
    ("image_path", "words"),
    [
        ("P{1}", "braces"),
        ("P1\0", "cannot be printed"),
        ("P\x1b[2J", "cannot be printed"),
        ("P" * 300, "300 characters"),
        ("/".join(["P" * 200] * 30), "characters, more than"),
        ("x" * 200_000, "200000 characters"),
    ],
    ids=["braces", "NUL", "escape", "a long name", "a long path", "a field longer than csv takes"],
)
def test_what_no_folder_can_be_called_leaves_out_only_its_patient(tmp_path, image_path, words) -> None:
    rows = GOOD + f"P3,development,A,{image_path},,100,1,2\n"
    cohort = read(tmp_path, HEADER + rows, "exclude")
    assert cohort.ids() == ["P1", "P2"] and words in cohort.problems["P3"]
    assert len(cohort.problems["P3"]) < 500
    with pytest.raises(TableError, match=words):
        read(tmp_path, HEADER + rows)


def test_links_in_a_ring_do_not_stop_the_table(tmp_path: Path) -> None:
    (tmp_path / "P1").symlink_to(tmp_path / "P1")
    assert read(tmp_path, HEADER + GOOD, image_root=str(tmp_path)).ids() == ["P1", "P2"]


def test_columns_are_mapped_and_filled(tmp_path: Path) -> None:
    cohort = read(
        tmp_path,
        "patient_id,pfs,relapse,age\nS1,12,1,60\n",
        columns={"pfs_time_days": "pfs", "pfs_event": "relapse", "clinical_age": "age"},
        fill={"set": "development", "image_path": "{patient_id}/CT"},
        endpoint="pfs",
        time_unit="months",
    )
    # 1 month = 365.25 / 12 days.
    assert cohort["S1"].time_days == pytest.approx(365.25)
    assert cohort["S1"].image_path == "S1/CT" and cohort["S1"].extra["clinical_age"] == "60"


def test_months_of_further_endpoints_become_days_too(tmp_path: Path) -> None:
    # Their columns say days, and cohort.parquet carries them on.
    header = HEADER.replace("clinical_stage", "death_time_days,death_event")
    rows = "P1,development,A,P1,,12,1,24,0\nP2,development,A,P2,,12,1,,0\n"
    table = outcome_table(read(tmp_path, header + rows, time_unit="months").patients)
    assert table.loc["P1", "death_time_days"] == pytest.approx(730.5)  # 24 × 365.25 / 12
    assert table["death_time_days"].isna()["P2"] and table.loc["P1", "death_event"] == 0
    days = outcome_table(read(tmp_path, header + rows).patients)
    assert days.loc["P1", "death_time_days"] == 24


@pytest.mark.parametrize("policy", ["stop", "exclude"])
def test_events_coded_1_and_2_are_refused_whatever_the_policy(tmp_path: Path, policy: str) -> None:
    # Excluding the 2s one by one would leave the 1s, the censored, as events.
    rows = "".join(f"P{n},development,A,P{n},,{100 + n},{1 + n % 2},\n" for n in range(6))
    with pytest.raises(TableError, match="coded 1 and 2"):
        read(tmp_path, HEADER + rows, policy=policy)


def test_a_link_to_another_patients_images_is_the_same_folder(tmp_path: Path) -> None:
    # Excluding nobody: which of the two rows is right cannot be known.
    (tmp_path / "P1").mkdir()
    (tmp_path / "P2").symlink_to(tmp_path / "P1")
    with pytest.raises(TableError, match="have the same images"):
        read(tmp_path, HEADER + GOOD, policy="exclude", image_root=str(tmp_path))


@pytest.mark.parametrize("pair", [("none", "distant"), ("none", "none"), ("3", "4a")])
def test_categories_may_be_such_words_or_begin_with_digits(tmp_path: Path, pair: tuple[str, str]) -> None:
    rows = f"P1,development,A,P1,,9,1,{pair[0]}\nP2,external,B,P2,,9,0,{pair[1]}\n"
    cohort = read(tmp_path, HEADER + rows)
    assert [p.extra["clinical_stage"] for p in cohort.patients] == list(pair)


def test_mapping_onto_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    text = HEADER.replace("event,clinical_stage", "dead,event") + GOOD
    with pytest.raises(TableError, match="a column twice: 'event'.*cohort.columns"):
        read(tmp_path, text.replace(",1,2", ",1,0").replace(",0,\n", ",0,1\n"), columns={"event": "dead"})


def test_a_table_of_another_encoding_or_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_bytes((HEADER + GOOD.replace(",A,", ",Zürich,")).encode("latin-1"))
    with pytest.raises(TableError, match="not a text in UTF-8"):
        read_cohort(CohortSettings(table=str(path)))
    with pytest.raises(TableError, match=r"no row .* can be used.*must be 0 or 1"):
        read(tmp_path, HEADER + GOOD.replace(",1,2", ",3,2").replace(",0,", ",4,"), policy="exclude")


def test_mapping_an_absent_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="did you mean 'event'"):
        read(tmp_path, HEADER + GOOD, columns={"event": "evemt"})


BARE = "patient_id,set,image_path,label_kind\n"


def test_a_table_without_any_outcome_is_a_study_without_outcomes(tmp_path: Path) -> None:
    cohort = read(tmp_path, BARE + "P1,development,P1,1\nP2,external,P2,0\n")
    assert not cohort.has_outcomes and (cohort["P1"].time_days, cohort["P1"].event) == (None, None)
    table = outcome_table(cohort.patients)
    assert list(table.columns) == ["set", "centre", "label_kind"] and not has_outcomes(table)
    with_outcomes = read(tmp_path, HEADER + GOOD)
    assert with_outcomes.has_outcomes and has_outcomes(outcome_table(with_outcomes.patients))


@pytest.mark.parametrize(
    ("column", "settings", "lacks"),
    [
        ("event", {}, "time_days"),
        ("time_days", {}, "event"),
        # A table that speaks of an outcome has one, and its name is asked for.
        ("os_event", {}, "time_days, event"),
        ("os_time_days", {"endpoint": "pfs"}, "pfs_time_days, pfs_event"),
        ("label_kind", {"endpoint": "os"}, "os_time_days, os_event"),
        ("label_kind", {"fill": {"event": "1"}}, "time_days"),
    ],
)
def test_half_an_outcome_is_refused(tmp_path: Path, column: str, settings: dict, lacks: str) -> None:
    text = BARE.replace("label_kind", column) + "P1,development,P1,1\n"
    with pytest.raises(TableError, match=f"lacks a column: {lacks}\\b"):
        read(tmp_path, text, **settings)


def test_blank_outcomes_are_no_study_without_outcomes(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="'time_days' must be a number"):
        read(tmp_path, HEADER + "P1,development,A,P1,,,,2\n")


@pytest.mark.parametrize("cell", ["12,5", "2020-01-31", "1_0", "٣", "five"])
def test_no_patient_is_left_out_for_a_slip_of_the_pen(tmp_path: Path, cell: str) -> None:
    """A blank time leaves a patient out where the policy says so; a time that is no number stops the study."""
    good = read(tmp_path, HEADER + GOOD)
    first = good.patients[0]
    time = next(
        text for text in GOOD.splitlines()[0].split(",") if text.replace(".", "").isdigit() and len(text) > 1
    )
    blank = read(tmp_path, HEADER + GOOD.replace(f",{time},", ",,", 1), policy="exclude")
    assert list(blank.problems) == [first.patient_id]
    with pytest.raises(SlipError, match="must be a number.*line 2"):
        read(tmp_path, HEADER + GOOD.replace(f",{time},", f',"{cell}",', 1), policy="exclude")
