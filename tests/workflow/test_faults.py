"""The fault suite (`make faults`): whatever disturbs a study, the same command ends with the same tables."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import (
    RUN,
    cut,
    finish,
    kill_jobs,
    kill_workflows,
    may_mount,
    remount,
    results_on,
    said,
    shift_times,
    start,
    tables,
)
from study_runner import Study, copy_house, tiny_config, tiny_rows

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("faults")]
needs_mount = pytest.mark.skipif(not may_mount(), reason="file systems may not be mounted here")


@pytest.fixture(scope="module")
def undisturbed(finished_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study on an archive of DICOM files, run without disturbance."""
    house = copy_house(tmp_path_factory.mktemp("archive") / "repo")
    for folder in sorted((finished_study.results / "phantom").iterdir()):
        shutil.copytree(folder / "dicom", house / "images" / folder.name)
    header, *rows = (line.split(",") for line in tiny_rows())
    at = header.index("image_path")
    lines = [header, *([*row[:at], row[0], *row[at + 1 :]] for row in rows)]
    (house / "cohort.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    study = Study(house, tiny_config(image_root="images"))
    assert start(study).wait(timeout=900) == 0, said(study)
    return study


@pytest.fixture
def study(undisturbed: Study, tmp_path: Path) -> Study:
    """The same study in a folder of its own, not run yet."""
    house = copy_house(tmp_path / "repo")
    shutil.copytree(undisturbed.house / "images", house / "images")
    shutil.copy(undisturbed.house / "cohort.csv", house / "cohort.csv")
    return Study(house, undisturbed.config)


@pytest.fixture
def finished(study: Study, undisturbed: Study) -> Study:
    """The same study in a folder of its own, finished."""
    for folder in ("results", ".snakemake"):
        shutil.copytree(undisturbed.house / folder, study.house / folder, symlinks=True)
    return study


@pytest.fixture(autouse=True)
def line(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """The fault's name, for the table that `conftest.py` prints at the end."""
    record_property("fault", request.function.__doc__)


def same_in_the_end(study: Study, undisturbed: Study) -> None:
    """The same command ends well, has nothing more to do, and its tables are those of the undisturbed run."""
    assert finish(study) == 0, said(study)[-3000:]
    after, expected = tables(study), tables(undisturbed)
    assert sorted(after) == sorted(expected)
    different = [name for name in expected if after[name] != expected[name]]
    assert not different, different
    assert "Nothing to be done" in study.snakemake("-n")


def test_kills_of_snakemake(study: Study, undisturbed: Study) -> None:
    """SIGKILL to Snakemake, ten times at random"""
    kill_workflows(study, 10, random.Random(1))
    same_in_the_end(study, undisturbed)


def test_kills_of_rules(study: Study, undisturbed: Study) -> None:
    """SIGKILL to a rule's process, ten times at random"""
    assert kill_jobs(study, 10, random.Random(2)) == 10
    same_in_the_end(study, undisturbed)


@needs_mount
def test_full_disk(study: Study, undisturbed: Study) -> None:
    """the disk fills"""
    with results_on(study, "size=12m"):
        assert start(study).wait(timeout=900) != 0
        assert "No space left on device" in said(study)
        remount(study, "size=4g")
        same_in_the_end(study, undisturbed)


@needs_mount
def test_read_only(finished: Study, undisturbed: Study) -> None:
    """the disk becomes read-only"""
    shutil.rmtree(finished.results / "report")
    with results_on(finished, "size=4g"):
        remount(finished, "ro")
        assert start(finished).wait(timeout=300) != 0
        remount(finished, "rw")
        same_in_the_end(finished, undisturbed)


def test_input_deleted(study: Study, undisturbed: Study) -> None:
    """a patient's images are deleted midway, and put back"""
    process = start(study)
    time.sleep(4.0)
    shutil.move(study.house / "images/P003", study.house / "aside")
    assert process.wait(timeout=900) != 0 or "P003" not in (study.results / "problems.csv").read_text()
    shutil.move(study.house / "aside", study.house / "images/P003")
    same_in_the_end(study, undisturbed)


def test_input_changed(study: Study, undisturbed: Study) -> None:
    """a slice is changed midway, and put back"""
    path = sorted((study.house / "images/P002").rglob("*.dcm"))[3]
    whole = path.read_bytes()
    process = start(study)
    time.sleep(4.0)
    cut(path)
    process.wait(timeout=900)
    path.write_bytes(whole)
    same_in_the_end(study, undisturbed)


def test_two_runs(study: Study, undisturbed: Study) -> None:
    """two runs of one study at the same time"""
    first = start(study)
    while not list((study.house / ".snakemake/locks").glob("*.lock")):
        time.sleep(0.1)
    second = subprocess.run(RUN, cwd=study.house, capture_output=True, text=True, check=False)
    assert second.returncode != 0 and "lock" in second.stdout + second.stderr
    assert first.wait(timeout=900) == 0
    same_in_the_end(study, undisturbed)


@pytest.mark.parametrize("days", [2, -2])
def test_clock(finished: Study, undisturbed: Study, days: int) -> None:
    """the clock jumps by two days"""
    shift_times(finished, days * 86400.0)
    same_in_the_end(finished, undisturbed)


def test_cut_chunk(finished: Study, undisturbed: Study) -> None:
    """a chunk of a crop is cut"""
    crop = finished.results / "crops/P004.zarr"
    cut(max((p for p in crop.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size))
    assert start(finished, "--forcerun", "train_fold").wait(timeout=900) != 0
    assert "P004.zarr" in said(finished) and "Traceback" not in said(finished)
    shutil.rmtree(crop)
    same_in_the_end(finished, undisturbed)


def test_cut_parquet(finished: Study, undisturbed: Study) -> None:
    """a table of features is cut"""
    table = finished.results / "radiomics/features.parquet"
    cut(table)
    assert start(finished, "--forcerun", "survival").wait(timeout=900) != 0
    assert "features.parquet" in said(finished) and "Traceback" not in said(finished)
    table.unlink()
    same_in_the_end(finished, undisturbed)


def test_cut_checkpoint(study: Study, undisturbed: Study) -> None:
    """the checkpoint of a killed training is cut"""
    study.config = {**study.config, "training": {**study.config["training"], "iterations": 4}}
    checkpoint = study.results / "checkpoints/deepmts_0/checkpoint.pt"
    process = start(study)
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.02)
    process.kill()
    process.wait()
    if checkpoint.exists():
        cut(checkpoint)
    same_in_the_end(study, undisturbed)


def test_memory_limit(finished: Study, undisturbed: Study) -> None:
    """memory runs out in a training"""
    assert (
        start(finished, "--forcerun", "train_fold", prefix=("prlimit", "--as=1200000000")).wait(timeout=900)
        != 0
    )
    same_in_the_end(finished, undisturbed)


def test_archive_not_mounted(finished: Study, undisturbed: Study) -> None:
    """the archive of images is not mounted"""
    shutil.move(finished.house / "images", finished.house / "aside")
    (finished.house / "images").mkdir()
    assert start(finished).wait(timeout=300) != 0
    assert "images" in said(finished) and "Traceback" not in said(finished)
    (finished.house / "images").rmdir()
    shutil.move(finished.house / "aside", finished.house / "images")
    same_in_the_end(finished, undisturbed)
