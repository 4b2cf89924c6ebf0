"""Partial reruns are exact: what changed, and what follows, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from study_runner import ROOT, Study, tiny_rows


@contextlib.contextmanager
def edited(path: Path, old: str, new: str) -> Iterator[None]:
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(text)


def test_a_finished_study_has_nothing_to_do(finished_study: Study) -> None:
    output = finished_study.snakemake("-n")
    assert "Nothing to be done" in output and len(output.splitlines()) <= 40


def test_code_of_one_stage_reruns_it_and_what_follows(finished_study: Study) -> None:
    path = finished_study.house / "pipeline" / "ensemble" / "ensemble.py"
    with edited(path, "import logging\n" if "import logging\n" in path.read_text() else "import json\n",
                "import json\nEXTRA = 1\n"):  # fmt: skip
        jobs = finished_study.planned()
    assert set(jobs) - {"all"} == {"ensemble", "evaluate", "report"}
    assert jobs["ensemble"] == 4


@pytest.mark.parametrize("name", ["style.css", "index.html.j2"])
def test_an_edited_template_reruns_the_report_alone(finished_study: Study, name: str) -> None:
    path = finished_study.house / "pipeline" / "report" / "templates" / name
    text = path.read_text()
    with edited(path, text, text + "\n"):
        assert set(finished_study.planned()) - {"all"} == {"report"}


def test_an_older_file_in_the_place_of_a_named_one_is_seen(finished_study: Study) -> None:
    """`mv`, `cp -p` and `rsync -a` keep times, and Snakemake asks only whether an input is newer."""
    path = finished_study.house / "config" / "radiomics" / "demo.yaml"
    before, text = path.stat(), path.read_text()
    try:
        path.write_text(text + "# another version\n")
        os.utime(path, (1e9, 1e9))
        jobs = finished_study.planned()
    finally:
        path.write_text(text)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert jobs["radiomics_patient"] == len(tiny_rows()) - 1 and not {"crop", "contours"} & set(jobs)
    assert finished_study.planned() == {}


NAMED = ("feature_set()", "boxes()", "named_template()", "masks_of(", "slice_mask(", "initial_weights(")


def test_every_named_file_has_a_digest_among_the_parameters() -> None:
    text = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    rules = [
        part for part in re.split(r"^ *rule ", text, flags=re.MULTILINE) if any(n in part for n in NAMED)
    ]
    assert len(rules) == 9
    assert not [rule.split(":")[0] for rule in rules if "named_files(" not in rule]
    # What a parameter makes of a rule's inputs is not recorded, so that a change of it is not seen.
    assert not re.findall(r"lambda wildcards, input", text)


def test_comments_and_docstrings_rerun_nothing(finished_study: Study) -> None:
    with contextlib.ExitStack() as stack:
        for path in (finished_study.house / "pipeline").rglob("*.py"):
            text = path.read_text()
            stack.enter_context(edited(path, text, text.replace('"""', '"""New words. ', 1) + "# a remark\n"))
        assert finished_study.planned() == {}


def test_one_more_patient_reruns_no_other_patient(finished_study: Study) -> None:
    table = finished_study.house / "cohort.csv"
    lines = (ROOT / "config" / "cohorts" / "phantom.csv").read_text().splitlines()
    known = table.read_text()
    fresh = next(
        line for line in lines[1:] if ",development," in line and line.split(",")[0] + "," not in known
    )
    with edited(table, known, known + fresh + "\n"):
        jobs = finished_study.planned()
    per_patient = ("phantom", "index", "convert", "suv", "contours", "register", "crop", "radiomics_patient")
    assert {name: jobs.get(name) for name in per_patient} == dict.fromkeys(per_patient, 1)
    assert "template" not in jobs and "crop_position" not in jobs
    assert {"radiomics_table", "plan", "train_fold", "survival", "ensemble", "evaluate", "report"} <= set(
        jobs
    )


@pytest.mark.parametrize(
    ("section", "change", "first", "untouched"),
    [
        ("evaluation", {"bootstraps": 101}, "evaluate", {"ensemble", "train_fold", "suv"}),
        ("training", {"iterations": 5}, "train_fold", {"plan", "survival", "crop"}),
        ("contours", {"supersampling": 5}, "contours", {"suv", "convert", "register", "index"}),
    ],
)
def test_settings_of_one_stage_rerun_it(
    finished_study: Study, section: str, change: dict, first: str, untouched: set[str]
) -> None:
    before = finished_study.config
    finished_study.config = {**before, section: {**before.get(section, {}), **change}}
    try:
        jobs = finished_study.planned()
    finally:
        finished_study.config = before
    assert first in jobs and not untouched & set(jobs)


@pytest.mark.nightly
def test_a_change_of_radiomics_trains_no_network(finished_study: Study, tmp_path: Path) -> None:
    """The plan is made again, with the same content; the networks' jobs run and only predict."""
    house = tmp_path / "repo"
    shutil.copytree(finished_study.house, house, symlinks=True)
    radiomics = {**finished_study.config["radiomics"], "min_voxels": 9}
    study = Study(house, {**finished_study.config, "radiomics": radiomics})
    folds = [Path("models/deepmts", fold) for fold in ("fold0", "fold1")]
    names = ("checkpoint.pt", "predictions.parquet", "history.csv", "timing.json")
    before = {(f, n): (study.results / f / n).read_bytes() for f in folds for n in names}
    planned = study.planned()
    assert planned["radiomics_patient"] == 14 and {"plan", "train_fold"} <= set(planned)
    study.snakemake()
    logs = [(study.results / "logs/train_fold" / f"deepmts_{k}.log").read_text() for k in (0, 1)]
    assert all("nothing is trained" in text for text in logs)
    assert before == {(f, n): (study.results / f / n).read_bytes() for f in folds for n in names}
    assert json.loads(before[folds[0], "timing.json"])["steps"] == 4


@pytest.mark.parametrize(
    ("section", "change", "jobs"),
    [
        ("study", {"on_bad_patient": "stop"}, {"report": 1}),
        ("radiomics", {"rim_mm": 9.0, "threshold_share": 0.5}, {"report": 1}),
        ("threads", {"train_fold": 2}, {"train_fold": 2, "ensemble": 2, "evaluate": 1, "report": 1}),
    ],
)
def test_settings_rerun_what_their_values_decide(
    finished_study: Study, section: str, change: dict, jobs: dict
) -> None:
    """No patient was excluded and no region is asked for: the report alone, which prints a hash of all settings.

    On a CPU bytes depend on the threads: the network is trained again, with what follows from it.
    """
    before = finished_study.config
    finished_study.config = {**before, section: {**before.get(section, {}), **change}}
    try:
        planned = finished_study.planned()
    finally:
        finished_study.config = before
    planned.pop("all")
    assert planned == jobs


def test_results_copied_without_their_times_are_told(finished_study: Study, tmp_path: Path) -> None:
    house = tmp_path / "repo"
    shutil.copytree(finished_study.house, house, symlinks=True, copy_function=shutil.copy)
    # An hour after the jobs: their records say so, since a time in the future is put right at the start.
    later = time.time() - 10
    for path in (house / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "endtime": record["endtime"] - 3600}))
    for path in (house / "results").rglob("*"):
        os.utime(path, (later, later))
    for path in (house / "results" / "tiny").glob("splits.json"):
        os.utime(path, (later + 5, later + 5))
    study = Study(house, finished_study.config)
    assert "those of a copy (cp -r)" in study.snakemake("-n", "--quiet", "rules")
    assert "those of a copy" not in finished_study.snakemake("-n", "--quiet", "rules")
    study.snakemake("--touch", "--forceall")
    output = study.snakemake("-n", "--quiet", "rules")
    assert "Nothing to be done" in output and "those of a copy" not in output
