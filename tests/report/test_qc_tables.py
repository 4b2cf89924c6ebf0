"""Tables of SUV and registration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.report import qc_tables
from pipeline.report.job import ReportJob
from tests.report.synthetic_study import make_study


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    return make_study(tmp_path_factory.mktemp("study") / "synthetic")


def test_flagged_patients_come_first_and_no_date_is_shown(job: ReportJob) -> None:
    table = qc_tables.suv_table(job)
    assert table["Patient"].tolist() == ["A2", "A1"]
    assert "2019" not in table.to_csv()
    # The injection was the evening before.
    assert "reference time day 1 09:20:37" in table.loc[0, "Path taken"]
    assert "injection day 0 23:07:00" in table.loc[0, "Path taken"]
    short = qc_tables.suv_on_page(table).loc[0, "Path taken"]
    assert short == "dose decayed 4417 s; Series Time"


def test_reference_regions_are_shown(job: ReportJob) -> None:
    assert "Reference SUV" not in qc_tables.suv_table(job)
    path, folder = job.results / "suv" / "A1" / "suv.json", job.results / "contours" / "A1"
    original = path.read_text()
    path.write_text(json.dumps({**json.loads(original), "reference": {"median": 0.61234567}}))
    folder.mkdir(parents=True)
    (folder / "contours.json").write_text(json.dumps({"reference": {"mean": 2.25}}))
    table = qc_tables.suv_table(job).set_index("Patient")
    assert table.loc["A1", "Body SUV"] == 0.61235 and table.loc["A1", "Reference SUV"] == 2.25
    path.write_text(original)
    shutil.rmtree(job.results / "contours")


def test_every_time_stands_beside_the_one_taken(job: ReportJob) -> None:
    path = job.results / "suv" / "A1" / "suv.json"
    original = path.read_text()
    evidence = [
        {"element": "GE private (0009,xx0D)", "minutes": 60.0, "suv_percent": 0.0, "chosen": True},
        {"element": "(0008,0031) Series Time", "minutes": 48.0, "suv_percent": -7.3, "chosen": False},
        {
            "element": "(0008,0032) Acquisition Time, first",
            "minutes": 60.0,
            "suv_percent": 0.0,
            "chosen": False,
        },
    ]
    facts = {"time_evidence": evidence, "tracer": "FDG", "dose_mbq": 350.0, "dose_mbq_per_kg": 5.0}
    path.write_text(json.dumps({**json.loads(original), **facts}))
    row = qc_tables.suv_table(job).set_index("Patient").loc["A1"]
    assert row["Times"] == "▸ GE private 60.0; series 48.0 (-7.3 %); acquisition first 60.0"
    assert (row["Tracer"], row["Dose (MBq)"], row["MBq/kg"]) == ("FDG", 350.0, 5.0)
    path.write_text(original)


def test_registration_is_ranked_after_alignment(job: ReportJob, tmp_path: Path) -> None:
    registration = qc_tables.registration_table(job)
    assert registration.set_index("patient_id").loc["A1", "translation_mm"] == pytest.approx(13.0)
    shown = qc_tables.registration_on_page(registration)
    assert shown["Patient"].tolist() == ["A2", "A1", "A3"], "A2 overlaps least; the template comes last"
    for patient_id in ("A1", "A2"):
        (job.results / "registration" / patient_id / "quality.png").write_bytes(b"png")
    assert qc_tables.copy_least_overlapping(job.results, registration, tmp_path, 1) == ["registration_A2.png"]
    for patient_id in ("A1", "A2"):
        (job.results / "registration" / patient_id / "quality.png").unlink()


def test_what_damaged_times_make_of_suv_stays_readable():
    assert (qc_tables.clock_minutes(72.04), qc_tables.clock_minutes(-6.6e10)) == ("72.0", "years away")
    assert (qc_tables.changed_suv(7.93), qc_tables.changed_suv(5.8e14)) == ("+7.9 %", "more than ten times")
