"""What jobs ask a scheduler for, against sizes and times worked out by hand or measured elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.attempts import MEMORY, TIME, attempts_file
from pipeline.errors import SettingsError
from pipeline.settings.kinds import NETWORKS
from pipeline.settings.step_memory import NETWORK_MEMORY
from pipeline.workflow.resources import (
    GFLOP_PER_MEGAVOXEL,
    USUAL_GFLOP,
    fold_memory_mb,
    fold_minutes,
    grown,
    step_seconds,
)
from pipeline.workflow.study import Study, load_study
from study_runner import ROOT


def study_of(folder: Path, patients: int, **sections: object) -> Study:
    """A study of NIfTI files with one network, `net`."""
    table = folder / "table.csv"
    rows = [f"P{number:03d},development,A,P{number:03d},100,{number % 2}" for number in range(patients)]
    table.write_text("patient_id,set,centre,image_path,time_days,event\n" + "\n".join(rows) + "\n")
    config: dict[str, object] = {
        "study": {"name": "asked"},
        "cohort": {"source": "nifti", "table": str(table), "image_root": str(folder)},
        "models": {"net": {"kind": "deepmts"}},
    }
    return load_study(config | sections)


def test_a_folds_memory_is_what_it_was_seen_to_take(tmp_path: Path) -> None:
    """`benchmarks/memory.py` of DeepMTS on the CPU: the kernel's peak within the tenth that is promised."""
    for shape, margin, training, took in (
        (48, 8, {"batch": 4}, 1.31e9),
        (80, 16, {"batch": 2}, 2.51e9),
        (
            80,
            16,
            {"batch": 4, "gradient_accumulation": 2, "precision": "bf16", "stored_as": "float16"},
            1.72e9,
        ),
    ):
        crop = {"shape": [shape] * 3, "margin": margin, "spacing_mm": [1, 1, 1]}
        study = study_of(tmp_path, 20, crop=crop, training={"device": "cpu", **training})
        asked = fold_memory_mb(study, "net") * 1024**2
        assert took < asked < 1.25 * took


def test_of_more_patients_only_their_masks_take_memory(tmp_path: Path) -> None:
    """HECKTOR, 239 patients of 2×204³: 23 GB were taken when all crops were in memory; 12 are a limit."""
    crop = {"shape": [144, 144, 144], "margin": 30, "spacing_mm": [1, 1, 1]}
    few, many = (study_of(tmp_path, n, crop=crop) for n in (20, 239))
    # Two channels in float32 with a byte of mask, two batches of eight; a tenth more.
    batches = 1.1 * (4000 + 2 * 8 * 204**3 * 9 / 1024**2)
    for study in (few, many):
        plan, development = study.settings.plan, len(study.cohort.ids("development"))
        predicted = development * (1 - (1 - 1 / plan.folds) * (1 - plan.validation_fraction))
        masks = (len(study.cohort.ids("external")) + predicted) * 144**3 / 1024**2
        assert fold_memory_mb(study, "net") == pytest.approx(batches + masks, abs=4)
    training = {"device": "cpu", "batch": 8, "gradient_accumulation": 8, "stored_as": "float16"}
    assert fold_memory_mb(study_of(tmp_path, 239, crop=crop, training=training), "net") < 12_000


def test_memory_of_a_step_is_that_which_was_measured() -> None:
    """docs/networks.md has each network's peak in a plain loop: 280 MiB of it PyTorch's, 16 bytes a parameter."""
    pattern = r"\| `(\w+)`[^|]*\| \d+×(\d+)×(\d+)×(\d+) \| ([\d,]+) \| [\d.]+ \| [\d.]+ \| ([\d,]+) \|"
    rows = re.findall(pattern, (ROOT / "docs" / "networks.md").read_text())
    measured: dict[str, float] = {}
    for kind, z, y, x, parameters, peak in rows:
        count = int(parameters.replace(",", ""))
        activations = (int(peak.replace(",", "")) - 280) * 1024**2 - 16 * count
        measured[kind] = max(measured.get(kind, 0.0), activations / (2 * int(z) * int(y) * int(x)))
        assert count / 1e6 <= NETWORK_MEMORY[kind][1], kind
    assert (
        measured.keys()
        == NETWORK_MEMORY.keys()
        == {network.model_fields["kind"].default for network in NETWORKS}
    )
    for kind, bytes_per_voxel in measured.items():
        assert bytes_per_voxel <= NETWORK_MEMORY[kind][0] <= 1.05 * bytes_per_voxel + 10, kind


def test_a_stated_step_gives_the_time(tmp_path: Path) -> None:
    """1,000 iterations of 0.6 s; 10 validations of 8 patients are 10 × 8 / 4 / 3 = 6.7 steps more."""
    training = {"iterations": 1000, "validate_every": 100, "batch": 4}
    resources = {"seconds_per_step": {"net": 0.6}}
    study = study_of(
        tmp_path, 40, training=training, resources=resources, plan={"folds": 5, "validation_fraction": 0.2}
    )
    assert fold_minutes(study, "net") == 30 + 16  # 1.5 × 1,006.7 × 0.6 s = 15.1 minutes, rounded up


@pytest.mark.parametrize(
    ("device", "measured"),
    # DeepMTS at the paper's size, batch 8: 0.121 s on an H200 (0.265 s deterministic). On a processor
    # 5.75 M parameters took 6.3 to 8.1 s per image of this size on two cores.
    [("cuda", 0.121), ("cpu", 8 * 6.3)],
)
def test_an_estimate_errs_upwards_and_not_beyond_a_day_for_an_hour(
    tmp_path: Path, device: str, measured: float
) -> None:
    study = study_of(tmp_path, 40, training={"device": device, "batch": 8}, threads={"train_fold": 2})
    assert measured < step_seconds(study, "net") < 8 * measured


def test_time_falls_with_width_crop_and_threads(tmp_path: Path) -> None:
    def seconds(**sections: object) -> float:
        return step_seconds(study_of(tmp_path, 40, training={"device": "cpu", "batch": 8}, **sections), "net")

    half = {"net": {"kind": "deepmts", "width": 0.5}}
    assert seconds(models=half) == pytest.approx(seconds() / 2)
    assert seconds(threads={"train_fold": 2}) == pytest.approx(seconds() / 2)
    assert seconds(crop={"shape": [56, 128, 128]}) == pytest.approx(seconds() / 2)


def test_operations_are_those_that_are_counted() -> None:
    """docs/networks.md counts each published network on the meta device."""
    pattern = r"\| `(\w+)`[^|]*\| (\d+)×(\d+)×(\d+)×(\d+) \| [\d,]+ \| ([\d,.]+) \|"
    rows = re.findall(pattern, (ROOT / "docs" / "networks.md").read_text())
    assert len({kind for kind, *_ in rows}) == len(NETWORKS)
    for kind, _, z, y, x, gflop in rows:
        counted = float(gflop.replace(",", "")) / (int(z) * int(y) * int(x) / 1e6)
        assert counted <= 1.01 * GFLOP_PER_MEGAVOXEL.get(kind, USUAL_GFLOP), kind


def test_a_step_is_stated_of_a_network_there_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="seconds_per_step names 'nett', which is no network"):
        study_of(tmp_path, 40, resources={"seconds_per_step": {"nett": 1.0}})
    with pytest.raises(SettingsError, match=r"must be more than 0.*got 0"):
        study_of(tmp_path, 40, resources={"seconds_per_step": {"net": 0}})


TIMED_OUT = 'started\nStack (most recent call first):\n  File "x.py", line 3 in f\n'


@pytest.mark.parametrize(
    ("marks", "attempt", "minutes", "memory"),
    [
        ("", 1, 60, 1000),
        (TIMED_OUT, 2, 120, 1000),
        ("started\ntime\n", 2, 120, 1000),
        ("started\n", 2, 60, 2000),
        ("started\nmemory\n", 2, 60, 2000),
        ("started\nfailed\n", 2, 60, 1000),
        (TIMED_OUT + "started\n", 3, 120, 2000),
        (TIMED_OUT + TIMED_OUT, 3, 180, 1000),
        # A run of yesterday that was cancelled: today's first attempt asks for no more.
        (TIMED_OUT + TIMED_OUT, 1, 60, 1000),
        (TIMED_OUT + "started\nmemory\n", 2, 60, 2000),
        # Killed before the job's own process had begun.
        ("", 2, 60, 1000),
    ],
)
def test_only_what_was_short_grows(
    tmp_path: Path, marks: str, attempt: int, minutes: int, memory: int
) -> None:
    log = tmp_path / "P.1.log"
    if marks:
        attempts_file(log).write_text(marks)
    assert grown(60, TIME, log, attempt) == minutes
    assert grown(1000, MEMORY, log, attempt) == memory


def test_nothing_grows_beyond_what_the_cluster_grants(tmp_path: Path) -> None:
    log = tmp_path / "P1.log"
    attempts_file(log).write_text(TIMED_OUT)
    assert grown(60, TIME, log, 2, 90) == 90
    # A base that is too large is told at the start; it is not cut in silence.
    assert grown(60, TIME, log, 2, 45) == 60
