"""Bad patients: one message each that says what, where and what to do; never a traceback.

DICOM of the finished tiny study, spoilt in the ways that hospitals spoil it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pydicom
import pytest

from study_runner import Study, copy_house, tiny_config, tiny_rows

GOOD, NO_IMAGES, NO_CONTOUR, NO_DOSE, NO_ROW = "GOOD", "NOIMAGES", "NOCONTOUR", "NODOSE", "NOROW"


@pytest.fixture(scope="module")
def spoilt(finished_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    house = copy_house(tmp_path_factory.mktemp("bad") / "repo")
    source = next(iter(sorted((finished_study.results / "phantom").iterdir()))) / "dicom"
    for name in (GOOD, NO_CONTOUR, NO_DOSE, NO_ROW):
        shutil.copytree(source, house / "images" / name)
    shutil.rmtree(house / "images" / NO_CONTOUR / "RTSTRUCT")
    for path in (house / "images" / NO_DOSE / "PET").glob("*.dcm"):
        data = pydicom.dcmread(path)
        del data.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose
        data.save_as(path)
    header, row = tiny_rows()[0], tiny_rows()[1].split(",")
    rows = [",".join([name, *row[1:3], name, *row[4:]]) for name in (GOOD, NO_IMAGES, NO_CONTOUR, NO_DOSE)]
    (house / "cohort.csv").write_text("\n".join([header, *rows]) + "\n")
    config = tiny_config(image_root="images")
    config["study"]["name"] = "bad"
    config["registration"] = {"method": "none"}
    config["crop"]["position"] = "lesion"
    return Study(house, config)


def status(study: Study, stage: str, patient: str) -> dict:
    return json.loads((study.results / stage / patient / "status.json").read_text())


@pytest.fixture(scope="module")
def went_on(spoilt: Study) -> str:
    """The run with `on_bad_patient: exclude` (the default)."""
    return spoilt.snakemake("preprocess", "results/bad/problems.csv")


def test_the_run_goes_on_without_them(spoilt: Study, went_on: str) -> None:
    assert "Traceback" not in went_on
    assert status(spoilt, "contours", GOOD)["state"] != "excluded"
    problems = (spoilt.results / "problems.csv").read_text()
    for patient in (NO_IMAGES, NO_CONTOUR, NO_DOSE):
        assert problems.count(f"{patient},") == 1


@pytest.mark.parametrize(
    ("stage", "patient", "words"),
    [
        ("index", NO_IMAGES, ("where", "image_path", "what to do")),
        ("contours", NO_CONTOUR, ("contour", "what to do")),
        ("suv", NO_DOSE, ("dose", "(0018,1074)", "what to do")),
    ],
)
def test_each_is_told_what_where_and_what_to_do(
    spoilt: Study, went_on: str, stage: str, patient: str, words: tuple[str, ...]
) -> None:
    said = status(spoilt, stage, patient)
    assert said["state"] == "excluded"
    assert all(word.lower() in said["problem"].lower() for word in words), said["problem"]
    assert [p.name for p in (spoilt.results / stage / patient).iterdir() if p.name[0] != "."] == [
        "status.json"
    ]


def test_images_without_a_row_are_told(went_on: str) -> None:
    assert went_on.count(f"images/{NO_ROW} holds images, but no row") == 1


def test_the_policy_stop_ends_the_run_with_one_message(spoilt: Study, went_on: str) -> None:
    before = spoilt.config
    spoilt.config = {**before, "study": {**before["study"], "on_bad_patient": "stop"}}
    try:
        output = spoilt.snakemake("results/bad/problems.csv", check=False)
    finally:
        spoilt.config = before
    errors = {line for line in output.splitlines() if line.startswith("error:")}
    assert len(errors) == 1 and "study.on_bad_patient is stop" in errors.pop() and "Traceback" not in output


def test_the_table_of_a_patient_whose_folder_is_a_file(spoilt: Study, went_on: str) -> None:
    """A file where a folder should be is one message too."""
    path = Path(spoilt.house, "images", NO_IMAGES)
    path.write_text("not DICOM")
    try:
        output = spoilt.snakemake(f"results/bad/index/{NO_IMAGES}")
    finally:
        path.unlink()
    assert "Traceback" not in output
    assert status(spoilt, "index", NO_IMAGES)["state"] == "excluded"
