"""Cohort tables and studies drafted from releases: who is in, who is left out and why, what is refused."""

from __future__ import annotations

import csv
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from pipeline.__main__ import main
from pipeline.errors import TableError
from pipeline.releases.draft_release import describe, draft_release
from pipeline.tables.cohort import read_cohort
from pipeline.workflow.study import load_study
from tests.releases.made_up_releases import BOX_MM, WRITERS, draw, write_release, write_sheet

OUTCOMES = {
    "hecktor2021": ("hecktor2021_patient_endpoint_training.csv", "Progression", "Progression free survival"),
    "hecktor2022": ("hecktor2022_endpoint_training.csv", "Relapse", "RFS"),
    "hecktor2025": ("HECKTOR_2025_Training_Task_2.csv", "Relapse", "RFS"),
    "hecktor2026": ("HECKTOR_2026_training_data.csv", "Relapse", "RFS"),
}
ROOT = Path(__file__).resolve().parents[2]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def edit(sheet: Path, number: int, **values: str) -> None:
    """Change values of a row of a sheet; of all rows with number -1."""
    content = rows(sheet)
    for row in content if number < 0 else [content[number]]:
        row.update(values)
    write_sheet(sheet, list(content[0]), [list(row.values()) for row in content])


def notes(out: Path) -> dict[str, str]:
    return {row["patient_id"]: row["note"] for row in rows(out.with_name(f"{out.stem}.notes.csv"))}


@pytest.fixture(params=sorted(WRITERS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_release_becomes_a_table_and_a_study(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    drawn = write_release(layout, Path("release"), 5, images=False)
    release, files = draft_release(layout, Path("release"), Path("mine/cohort.csv"))
    study = load_study(yaml.safe_load(files.study.read_text()))
    assert study.name == "cohort" and study.settings.cohort.nifti_pet_quantity == "suvbw"
    by_id = {p.patient_id.replace("-", ""): p for p in study.cohort.patients}
    assert len(by_id) == len(drawn) and not release.left_out
    for made in drawn:
        patient = by_id[made.patient_id.replace("-", "")]
        assert (patient.time_days, patient.event, patient.centre) == (made.days, made.event, str(made.centre))
        assert float(patient.extra["clinical_age"]) == made.age
        folder = Path(study.settings.cohort.image_root, patient.image_path)
        assert (folder / patient.roi).is_file()
        for pattern in (study.settings.cohort.nifti_ct, study.settings.cohort.nifti_pet):
            assert len([p for p in folder.iterdir() if fnmatchcase(p.name.lower(), pattern)]) == 1
    assert f"{len(drawn)} patients, {sum(p.event for p in drawn)} events" in describe(release, files)
    first = layout == "hecktor2021"
    assert study.settings.crop.position == ("box" if first else "brain_anchored")
    assert study.settings.contours.class_values() == ({} if first else {"gtvp": 1, "gtvn": 2})
    assert (study.settings.paper is not None) == first


def test_boxes_are_written_with_the_columns_that_crops_read(tmp_path: Path) -> None:
    (made,) = write_release("hecktor2021", tmp_path / "r", 1, images=False)
    draft_release("hecktor2021", tmp_path / "r", tmp_path / "a.csv")
    (box,) = rows(tmp_path / "a.boxes.csv")
    assert box["patient_id"] == made.patient_id.replace("-", "")
    corners = [float(box[name]) for name in ("x1", "x2", "y1", "y2", "z1", "z2")]
    x, y, z = made.tumour_mm
    half = BOX_MM / 2
    assert corners == pytest.approx([x - half, x + half, y - half, y + half, z - half, z + half])


def test_who_cannot_be_used_is_left_out_by_name(layout: str, tmp_path: Path) -> None:
    drawn = write_release(layout, tmp_path / "r", 6, images=False)
    sheet, event, time = OUTCOMES[layout]
    edit(tmp_path / "r" / sheet, 0, **{event: "", time: ""})
    edit(tmp_path / "r" / sheet, 1, **{time: "0"})
    ids = [row["PatientID"] for row in rows(tmp_path / "r" / sheet)]
    for path in (tmp_path / "r").rglob(f"{ids[2]}_*"):
        if path.is_file() and "ct" in path.name.lower():
            path.unlink()
    labels = [tmp_path / "r" / place for place in (f"hecktor_nii/{ids[3]}_gtvt.nii.gz", f"labelsTr/{ids[3]}.nii.gz",
                                                   f"{ids[3]}/{ids[3]}.nii.gz")]  # fmt: skip
    (label,) = filter(Path.is_file, labels)
    label.unlink()
    release, files = draft_release(layout, tmp_path / "r", tmp_path / "a.csv")
    said = notes(tmp_path / "a.csv")
    assert said[ids[0]].startswith("no outcome") and "not above 0" in said[ids[1]]
    assert said[ids[2]] == "no CT" and said[ids[3]] == "no contour"
    assert {row["patient_id"] for row in rows(files.table)} == set(ids[3:]) and len(drawn) == len(ids)
    assert "3 patients were left out" in describe(release, files)


def test_patients_of_one_side_only_are_told(tmp_path: Path) -> None:
    write_release("hecktor2022", tmp_path / "r", 4, images=False)
    for ending in ("__CT", "__PT"):
        (tmp_path / "r/imagesTr" / f"NEW-001{ending}.nii.gz").touch()
        (tmp_path / "r/imagesTr" / f"CHUP-001{ending}.nii.gz").unlink()
    draft_release("hecktor2022", tmp_path / "r", tmp_path / "a.csv")
    assert notes(tmp_path / "a.csv") == {
        "CHUP-001": "no images",
        "NEW-001": "no row in a sheet with the column PatientID",
    }


def test_a_patient_without_a_box_is_left_out(tmp_path: Path) -> None:
    write_release("hecktor2021", tmp_path / "r", 3, images=False)
    sheet = tmp_path / "r/hecktor2021_bbox_training.csv"
    edit(sheet, 1, x2="")
    release, _ = draft_release("hecktor2021", tmp_path / "r", tmp_path / "a.csv")
    assert list(release.left_out.values()) == ["no box"]
    edit(sheet, 0, z1="here")
    with pytest.raises(TableError, match=r"corner of a box is no number.*column z1; got: 'here'"):
        draft_release("hecktor2021", tmp_path / "r", tmp_path / "b.csv")


@pytest.mark.parametrize("codes", [("1", "2"), ("no", "yes"), ("0", "2")])
def test_events_coded_otherwise_are_refused(layout: str, codes: tuple[str, str], tmp_path: Path) -> None:
    write_release(layout, tmp_path / "r", 3, images=False)
    sheet, event, _ = OUTCOMES[layout]
    for number, code in enumerate((codes[0], codes[1], codes[0])):
        edit(tmp_path / "r" / sheet, number, **{event: code})
    with pytest.raises(TableError, match=rf"'{event}' is not coded 0 and 1.*got: {codes[0]}, {codes[1]}"):
        draft_release(layout, tmp_path / "r", tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_months_are_never_guessed(layout: str, tmp_path: Path) -> None:
    """12 and 24 months of 30.4375 days."""
    write_release(layout, tmp_path / "r", 2, images=False)
    sheet, _, time = OUTCOMES[layout]
    edit(tmp_path / "r" / sheet, 0, **{time: "12"})
    edit(tmp_path / "r" / sheet, 1, **{time: "24"})
    with pytest.raises(TableError, match=r"may be months.*TIME_UNIT=months or TIME_UNIT=days"):
        draft_release(layout, tmp_path / "r", tmp_path / "a.csv")
    draft_release(layout, tmp_path / "r", tmp_path / "months.csv", "months")
    assert sorted(float(r["time_days"]) for r in rows(tmp_path / "months.csv")) == [365.25, 730.5]
    draft_release(layout, tmp_path / "r", tmp_path / "days.csv", "days")
    assert sorted(float(r["time_days"]) for r in rows(tmp_path / "days.csv")) == [12, 24]
    with pytest.raises(TableError, match="no such unit"):
        draft_release(layout, tmp_path / "r", tmp_path / "b.csv", "weeks")


def test_two_rows_of_a_patient_and_contradictions_are_refused(tmp_path: Path) -> None:
    write_release("hecktor2022", tmp_path / "r", 3, images=False)
    write_sheet(tmp_path / "r/other.csv", ["PatientID", "Age"], [["CHUP-001", 51.0]])
    draft_release("hecktor2022", tmp_path / "r", tmp_path / "a.csv")  # says the same: 51
    write_sheet(tmp_path / "r/other.csv", ["PatientID", "Age"], [["CHUP-001", 61]])
    with pytest.raises(TableError, match=r"different things of patient 'CHUP-001'.*'51' and '61'"):
        draft_release("hecktor2022", tmp_path / "r", tmp_path / "b.csv")
    write_sheet(tmp_path / "r/other.csv", ["PatientID"], [["CHUP-001"], ["chup-001"]])
    with pytest.raises(TableError, match="two rows of patient 'chup-001'"):
        draft_release("hecktor2022", tmp_path / "r", tmp_path / "b.csv")
    write_sheet(tmp_path / "r/other.csv", ["PatientID"], [["Doe, Jane"]])
    with pytest.raises(TableError, match="not safe in file names"):
        draft_release("hecktor2022", tmp_path / "r", tmp_path / "b.csv")


def test_folders_of_tasks_are_one_release(tmp_path: Path) -> None:
    """2025 repeats patients in `Task 1` (with contours) and `Task 2` (with the outcomes)."""
    data = tmp_path / "r"
    write_release("hecktor2025", data / "Task 1", 3, images=False)
    write_release("hecktor2025", data / "Task 2", 3, images=False)
    (data / "Task 1/HECKTOR_2025_Training_Task_2.csv").unlink()
    for label in (data / "Task 2").glob("*/*[0-9].nii.gz"):
        label.unlink()
    draft_release("hecktor2025", data, tmp_path / "a.csv")
    assert {row["image_path"].split("/")[0] for row in rows(tmp_path / "a.csv")} == {"Task 1"}
    (data / "Task 2/CHUP-001/CHUP-001.nii.gz").touch()
    with pytest.raises(TableError, match="'CHUP-001' has contours in two folders"):
        draft_release("hecktor2025", data, tmp_path / "b.csv")


def test_what_is_no_such_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("hecktor2021", "hecktor2022"):
        with pytest.raises(TableError, match="the release has no folder"):
            draft_release(name, tmp_path / "empty", tmp_path / "a.csv")
    with pytest.raises(TableError, match="no sheet of the release has the outcomes"):
        draft_release("hecktor2025", tmp_path / "empty", tmp_path / "a.csv")
    write_release("hecktor2022", tmp_path / "r", 1, images=False)
    edit(tmp_path / "r/hecktor2022_endpoint_training.csv", 0, RFS="", Relapse="")
    with pytest.raises(TableError, match="no patient of the release can be used.*no outcome"):
        draft_release("hecktor2022", tmp_path / "r", tmp_path / "a.csv")
    with pytest.raises(TableError, match="no such layout.*hecktor2021, hecktor2022"):
        draft_release("hecktor1999", tmp_path / "r", tmp_path / "a.csv")
    with pytest.raises(TableError, match="folder does not exist"):
        draft_release("hecktor2022", tmp_path / "nowhere", tmp_path / "a.csv")


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_release("hecktor2026", tmp_path / "r", 2, images=False)
    arguments = ["draft", "--layout", "hecktor2026", str(tmp_path / "r"), str(tmp_path / "a.csv")]
    assert main(arguments) == 0 and "2 patients, 1 events" in capsys.readouterr().out
    (tmp_path / "a.csv").unlink()
    assert main(arguments) == 1 and "a.yaml" in capsys.readouterr().err
    assert main([*arguments, "--keep-ids"]) == 1 and "are its own" in capsys.readouterr().err


def test_a_broken_reader_would_be_seen(tmp_path: Path) -> None:
    """The times of the table are those of the sheet, not of a neighbour: ids are drawn out of order."""
    write_release("hecktor2022", tmp_path / "r", 6, images=False)
    _, files = draft_release("hecktor2022", tmp_path / "r", tmp_path / "a.csv")
    study = yaml.safe_load(files.study.read_text())
    times = {p.patient_id: p.time_days for p in read_cohort(load_study(study).settings.cohort).patients}
    assert times == {made.patient_id: made.days for made in (draw(n, 0) for n in range(1, 7))}
