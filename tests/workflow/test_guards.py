"""What stops a run before its first job: an archive that is not mounted, images that went."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import MachineError, SettingsError
from pipeline.tables.files import NO_IMAGES, read_absent
from pipeline.workflow.guards import (
    absent_patients,
    machine_failures_told,
    record_absent,
    require_images,
    require_workflow_profile,
    stops_at_exclusions,
)
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.study import load_study
from study_runner import Study, copy_house, tiny_config, tiny_rows

SOURCES = ("dicom", "nifti", "slices")


def study(source: str = "dicom", **cohort: Any) -> StudyPaths:
    return StudyPaths(load_study(tiny_config(source=source, image_root="images", **cohort)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a table and a file in the folder of each patient."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    for patient in study().study.cohort.ids():
        folder = Path(study().image_folder(patient))
        folder.mkdir(parents=True)
        (folder / "1.dcm").touch()
    return tmp_path


def finish(paths: StudyPaths, patient: str, state: str, problem: str = "") -> None:
    """What the first stage leaves of a patient."""
    folder = Path(paths.stages_of(patient)[0])
    status = {"state": state, "stage": "index", "problem": problem, "consequence": ""}
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps(status))


def remove(paths: StudyPaths, *patients: str) -> None:
    for patient in patients:
        shutil.rmtree(paths.image_folder(patient))


@pytest.mark.parametrize("source", SOURCES)
def test_with_all_images_in_place_nothing_stops(here: Path, source: str) -> None:
    require_images(study(source))
    assert absent_patients(study(source)) == []


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("empty", [False, True])
def test_an_archive_that_is_not_mounted_stops(here: Path, source: str, empty: bool) -> None:
    shutil.rmtree(here / "images")
    if empty:
        (here / "images").mkdir()
    words = "is empty.*mount point" if empty else "is missing.*no such folder"
    with pytest.raises(MachineError, match=words) as stop:
        require_images(study(source))
    assert f"cohort.image_root: {here / 'images'}" in str(stop.value) and "mount the archive" in str(
        stop.value
    )


def test_studies_that_make_their_images_have_none_to_miss(here: Path) -> None:
    shutil.rmtree(here / "images")
    phantom = StudyPaths(load_study(tiny_config()))
    require_images(phantom)
    assert absent_patients(phantom) == []


def test_most_folders_missing_at_once_stop(here: Path) -> None:
    """More than half: of 14 patients 7 may lack images, 8 may not."""
    patients = study().study.cohort.ids()
    remove(study(), *patients[:7])
    require_images(study())
    remove(study(), patients[7])
    with pytest.raises(
        MachineError, match=r"images of 8 of 14 patients are missing.* and 7 more.*cohort\.csv"
    ):
        require_images(study())


def test_one_patient_of_one_may_lack_images(here: Path) -> None:
    """Two at least: a single missing folder is a patient's, not an archive's."""
    rows = tiny_rows()
    (here / "cohort.csv").write_text("\n".join(rows[:2]) + "\n")
    (here / "images" / "other").mkdir()
    remove(study(), "P001")
    require_images(study())


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("state", "problem", "stops"),
    [
        ("ok", "", True),
        ("warned", "the CT holds no air", True),
        ("excluded", "there is no PET series; where: series of the patient.", True),
        ("excluded", f"{NO_IMAGES}; where: images/P1.", False),
        ("", "", False),
    ],
)
def test_images_that_were_read_before_must_be_there(
    here: Path, source: str, state: str, problem: str, stops: bool
) -> None:
    paths = study(source)
    patient = paths.study.cohort.ids()[3]
    remove(paths, patient)
    if state:
        finish(paths, patient, state, problem)
    if not stops:
        require_images(paths)
        return
    with pytest.raises(MachineError, match=f"read before are missing, of patient {patient}") as stop:
        require_images(paths)
    assert "make forget" in str(stop.value) and str(here / paths.image_folder(patient)) in str(stop.value)


def test_masks_that_were_read_before_must_be_there(here: Path) -> None:
    rows = tiny_rows()
    fields = rows[1].split(",")
    fields[rows[0].split(",").index("roi")] = "masks/P001.nii.gz:1"
    (here / "cohort.csv").write_text("\n".join([rows[0], ",".join(fields), *rows[2:]]) + "\n")
    require_images(study())  # never read: the stage contours refuses the patient
    contours = Path(study().stage("contours", fields[0]))
    contours.mkdir(parents=True)
    (contours / "status.json").write_text('{"state": "ok"}')
    with pytest.raises(MachineError, match=r"mask files that were read before are missing.*P001\.nii\.gz"):
        require_images(study())
    (here / "masks").mkdir()
    (here / "masks" / "P001.nii.gz").touch()
    require_images(study())


def test_closed_folders_are_told_without_a_traceback(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom no right stops: the system's refusal is simulated."""
    closed = study().image_folder(study().study.cohort.ids()[2])
    look = Path.stat

    def refuse(path: Path, **options: Any) -> os.stat_result:
        if str(path) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), closed)
        return look(path, **options)

    paths = study()
    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(MachineError, match=r"cannot be looked at.*Permission denied.*correct rights"):
        require_images(paths)
    with pytest.raises(MachineError, match="cannot be read or written"), machine_failures_told():
        Path(closed).stat()


def test_patients_without_images_are_recorded_for_the_jobs(here: Path) -> None:
    remove(study(), "P002")
    record_absent(study())
    assert read_absent(Path(study().absent)) == ["P002"]


def test_snakemake_stops_with_one_message_and_touches_nothing(tmp_path: Path) -> None:
    house = copy_house(tmp_path / "repo")
    (house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    run = Study(house, tiny_config(image_root="archive"))
    (house / "archive").mkdir()
    kept = run.results / "index" / "P001" / "status.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    for arguments in (("-n",), ()):
        output = run.snakemake(*arguments, check=False)
        assert output.count("the folder of all images is empty") == 1 and "Traceback" not in output
        assert "rule index" not in output
    with pytest.raises(AssertionError, match="snakemake failed"):
        run.snakemake("-n")
    assert sorted(p for p in run.results.rglob("*") if p.is_file()) == [kept] and kept.read_text() == "{}"


def test_a_stricter_policy_asks_again_only_where_patients_were_left_out(here: Path) -> None:
    def stops(policy: str) -> bool:
        config = tiny_config(image_root="images")
        config["study"]["on_bad_patient"] = policy
        return stops_at_exclusions(StudyPaths(load_study(config)))

    assert not stops("stop"), "nothing was run yet"
    table = Path(study().exclusions)
    table.parent.mkdir(parents=True)
    table.write_text("patient_id,stage,state,problem,consequence\nP001,crop,warned,cut,used\n")
    assert not stops("stop")
    table.write_text("patient_id,stage,state,problem,consequence\nP001,suv,excluded,no dose,out\n")
    assert stops("stop") and not stops("exclude")


def test_the_workflow_starts_from_elsewhere(tmp_path: Path) -> None:
    house = copy_house(tmp_path / "repo")
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", str(house / "Snakefile"), "--cores", "1", "-n", "--quiet", "rules"],
        cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "train_fold" in done.stdout + done.stderr


def test_a_profile_that_is_not_there_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snakemake 9.27 (`parse_args`) looks here, in profiles/ here and beside the Snakefile, and else uses none."""
    root = tmp_path / "house"
    for folder in ("config/profiles/quiet", "profiles/mine"):
        (root / folder).mkdir(parents=True)
    monkeypatch.chdir(root)
    for words in ([], ["--workflow-profile", "config/profiles/quiet"], ["--workflow-profile=mine", "-n"]):
        require_workflow_profile(words, root)
    require_workflow_profile(["--workflow-profile", "none"], root)
    monkeypatch.chdir(tmp_path)
    require_workflow_profile(["--workflow-profile", "mine"], root)
    require_workflow_profile(
        ["--directory", "elsewhere", "--workflow-profile", "config/profiles/quiet"], root
    )
    for words in (["--workflow-profile", "config/profiles/quiet"], ["--workflow-profile=quite"]):
        with pytest.raises(SettingsError, match=r"no such profile.*has: quiet; got: "):
            require_workflow_profile(words, root)
