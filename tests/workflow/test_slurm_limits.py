"""Jobs that a SLURM cluster could never start, told before anything is submitted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.workflow.requests import (
    Request,
    grouped,
    rules_behind,
)
from pipeline.workflow.slurm import (
    NodeKind,
    earlier_jobs_warning,
    gpus_in,
    jobs_still_there,
    limit_minutes,
    most_granted,
    never_started,
    parse_sinfo,
)
from study_runner import Study, copy_house, tiny_config, tiny_rows

# The form is that of `sinfo` 22.05 for the option SINFO.
SINFO_TEXT = """\
short*|up|2:00:00|16000|8|(null)
long|up|7-00:00:00|64000|16|(null)
gpu|up|infinite|128000|32|gpu:a100:2(S:0-1)
gpu|up|infinite|64000|32|gpu:v100:4
"""
NODES = parse_sinfo(SINFO_TEXT)


def request(**values: object) -> Request:
    usual = {"rule": "suv", "model": "", "partition": "", "minutes": 60, "mem_mb": 4000, "cpus": 1, "gpus": 0}
    return Request(**{**usual, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("2:00:00", 120), ("7-00:00:00", 10080), ("30:00", 30), ("1-02:03:00", 1563), ("infinite", None)],
)
def test_time_limits_are_read(text: str, minutes: int | None) -> None:
    assert limit_minutes(text) == minutes


@pytest.mark.parametrize(
    ("text", "count"),
    [("(null)", 0), ("gpu:2", 2), ("gpu:a100:4(S:0-1),shard:8", 4), ("gpu:a100:1,gpu:v100:2", 3)],
)
def test_accelerators_are_counted(text: str, count: int) -> None:
    assert gpus_in(text) == count


def test_nodes_are_read() -> None:
    assert NODES[0] == NodeKind("short", True, True, 120, 16000, 8, 0)
    assert [kind.gpus for kind in NODES] == [0, 0, 2, 4] and NODES[2].minutes is None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, []),
        ({"minutes": 120, "mem_mb": 16000, "cpus": 8}, []),
        (
            {"rule": "train_fold", "model": "net", "minutes": 720, "resumes": True},
            ["train_fold (net)", "short", "720 minutes, its limit is 120", "slurm_partition=gpu",
             "--set-resources train_fold:runtime=120 --retries 5"],
        ),
        ({"minutes": 121}, ["121 minutes", "suv:runtime=120, if that suffices"]),
        ({"mem_mb": 64001}, ["64001 MB", "have 16000", "slurm_partition=gpu"]),
        ({"mem_mb": 999999}, ["suv:mem_mb=16000, if that suffices"]),
        ({"cpus": 9}, ["9 processors", "--set-threads suv=8"]),
        ({"gpus": 1}, ["1 GPU, its nodes have 0", "slurm_partition=gpu", "training.device: cpu"]),
        ({"gpus": 1, "partition": "gpu"}, []),
        # Four cards on one kind of node, 128 GB on the other.
        ({"gpus": 4, "mem_mb": 100000, "partition": "gpu"}, ["more at once than any single node"]),
        ({"partition": "lung"}, ["partition 'lung'", "gpu, long, short"]),
        ({"minutes": 500, "partition": "short,long"}, []),
    ],
)  # fmt: skip
def test_what_can_never_start_is_told_with_its_remedy(asked: dict, words: list[str]) -> None:
    problems = never_started([request(**asked)], NODES)
    assert len(problems) == bool(words)
    assert not [word for word in words if word not in problems[0]]


def test_what_is_granted_at_most() -> None:
    assert most_granted(request(), NODES) == (120, 16000)
    assert most_granted(request(partition="gpu"), NODES) == (None, 128000)
    assert most_granted(request(partition="lung"), NODES) == (None, None)


def test_a_group_asks_for_its_rules_together() -> None:
    requests = [
        request(rule="convert", minutes=30, mem_mb=4000),
        request(rule="suv", minutes=15, mem_mb=2000),
    ]
    (group,) = grouped(requests, {"convert": "volumes", "suv": "volumes"}, {"volumes": 3})
    assert (group.minutes, group.mem_mb, group.cpus) == (45, 12000, 3)
    assert grouped(requests, {"suv": "volumes"}, {}) == []
    (problem,) = never_started(
        grouped(requests, {"convert": "volumes", "suv": "volumes"}, {"volumes": 9}), NODES
    )
    assert "group volumes can never start" in problem and "convert, suv" in problem.replace(
        "suv, convert", "convert, suv"
    )


def test_jobs_of_a_killed_run_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "squeue"
    program.write_text(f"#!/bin/sh\necho '12|{tmp_path}'; echo '13|/elsewhere'; echo '14|{tmp_path}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    jobs = jobs_still_there(tmp_path)
    assert jobs == ["12", "14"]
    assert earlier_jobs_warning(jobs)[0].endswith("scancel 12 14") and earlier_jobs_warning([]) == []


def test_only_what_the_targets_need_is_checked(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images may be prepared on a partition without GPUs."""
    with_sinfo(tmp_path, monkeypatch)
    assert "crop 14" in " ".join(submit_dry(study, "preprocess").split())
    assert "1 GPU, its nodes have 0" in submit_dry(study, "results/tiny/models/deepmts/fold0")


def test_rules_behind_a_target() -> None:
    behind = rules_behind(["preprocess"])
    assert {"index", "contours", "template", "crop"} <= behind and not {"plan", "train_fold"} & behind
    assert {"train_fold", "survival", "plan", "index"} <= rules_behind(["report"])


def with_sinfo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "sinfo"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{SINFO_TEXT}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    house = copy_house(tmp_path / "repo")
    (house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    return Study(house, tiny_config())


def submit_dry(study: Study, *arguments: str) -> str:
    profile = ("--profile", "config/profiles/slurm")
    return study.snakemake(*arguments, "-n", *profile, "--quiet", "rules", check=False)


def test_a_dry_run_tells_it(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_sinfo(tmp_path, monkeypatch)
    study.config["training"]["iterations"] = 10**6
    study.config["resources"] = {"seconds_per_step": {"deepmts": 0.1}}
    study.config["training"]["device"] = "cpu"
    output = submit_dry(study)
    # 10^6 × 0.1 s × 1.5 are 2,500 minutes and a few for validations.
    assert "train_fold (deepmts) can never start in partition short: it asks for 2" in output
    assert "--set-resources train_fold:runtime=120 --retries" in output
    assert "train_fold 2" in " ".join(submit_dry(study, "--set-resources", "train_fold:runtime=120").split())
    long = submit_dry(study, "--set-resources", "train_fold:slurm_partition=long")
    assert "train_fold 2" in " ".join(long.split())
    # Elsewhere nothing is asked.
    assert "train_fold 2" in " ".join(study.snakemake("-n", "--quiet", "rules").split())


def test_a_study_for_accelerators_on_nodes_without(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sinfo(tmp_path, monkeypatch)
    output = submit_dry(study)
    assert "train_fold (deepmts) can never start in partition short: it asks for 1 GPU" in output
    assert "--set-resources train_fold:slurm_partition=gpu, or training.device: cpu" in output


SEVEN = ("index", "convert", "suv", "contours", "register", "crop", "radiomics_patient")


def test_one_group_of_all_is_refused_where_a_template_lies_between(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_sinfo(tmp_path, monkeypatch)
    study.config["training"]["device"] = "cpu"
    groups = (
        "--groups",
        *(f"{name}=patient" for name in SEVEN),
        "--default-resources",
        "slurm_partition=long",
    )
    refused = submit_dry(study, *groups)
    assert "Error in group patient" in refused and "template" in refused and "not allowed" in refused
    study.config["registration"] = {"method": "none"}
    study.config["crop"]["position"] = "lesion"
    assert "radiomics_patient 14" in " ".join(submit_dry(study, *groups).split())


def test_a_group_that_asks_for_too_much_is_told(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine patients' volumes at once need 36,000 MB; a node of `short` has 16,000."""
    with_sinfo(tmp_path, monkeypatch)
    study.config["training"]["device"] = "cpu"
    assert "train_fold 2" in " ".join(submit_dry(study).split())
    told = submit_dry(study, "--group-components", "volumes=9")
    assert "group volumes can never start in partition short: it asks for 36000 MB" in told
