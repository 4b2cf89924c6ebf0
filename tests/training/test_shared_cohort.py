"""One file of crops for all folds: read by processes side by side, left by a killed one, removed by the last."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import DamageError, MachineError, TrainingError
from pipeline.training import dataset
from pipeline.training.cohort_file import CohortFile, write_cohort
from pipeline.training.context import FoldJob, load_fold
from pipeline.training.crops import StandardisedCrop, standardised_crops
from pipeline.training.device import choose_device
from pipeline.training.prefetch import empty_rows
from pipeline.training.shared_cohort import open_shared

Job = Callable[..., FoldJob]
IDS = [f"p{number:02d}" for number in range(4)]


@pytest.fixture
def crops(study: Path) -> list[StandardisedCrop]:
    """Four patients, the last without a contour."""
    return list(standardised_crops(study / "crops", IDS, "zscore"))


def image_of(file: CohortFile, row: int) -> torch.Tensor:
    """A patient's image as the file holds it."""
    image, mask = empty_rows(file.header, 1)
    file.read(row, image[0], mask[0])
    return image[0]


@pytest.mark.parametrize(("precision", "digits"), [("float32", 24), ("float16", 11), ("bfloat16", 8)])
def test_images_are_kept_to_the_precision_that_is_told(
    crops: list[StandardisedCrop], tmp_path: Path, precision: str, digits: int
) -> None:
    """Rounding to nearest: half a unit in the last of 24, 11 or 8 binary digits (IEEE 754)."""
    write_cohort(tmp_path / "cohort", precision, crops)
    file = CohortFile(tmp_path / "cohort")
    file.check()
    size = 2 if precision != "float32" else 4
    assert (tmp_path / "cohort" / "images").stat().st_size == 4 * 2 * 16**3 * size
    assert file.header.nbytes == 4 * 16**3 * (2 * size + 1)
    for row, crop in enumerate(crops):
        difference = np.abs(image_of(file, row).float().numpy() - crop.image)
        assert (difference <= np.abs(crop.image) * 2.0**-digits + 1e-7).all()


def test_a_value_beyond_float16_is_refused(crops: list[StandardisedCrop], tmp_path: Path) -> None:
    crops[1].image[0, 0, 0, 0] = 1e5
    with pytest.raises(TrainingError, match="do not fit float16; where: patient p01.*65504.*100000.*float32"):
        write_cohort(tmp_path / "cohort", "float16", crops)
    assert not (tmp_path / "cohort").exists()


def test_a_full_disk_is_the_machines_failure(crops: list[StandardisedCrop], tmp_path: Path) -> None:
    def full() -> Iterator[StandardisedCrop]:
        yield crops[0]
        raise OSError(28, "No space left on device", str(tmp_path))

    with pytest.raises(MachineError, match="No space left"):
        open_shared(tmp_path, "k" * 16, "float32", full)
    assert not (tmp_path / f"cohort_{'k' * 16}").exists()


def never() -> Iterator[StandardisedCrop]:
    """Crops of whoever must not read any."""
    raise AssertionError("the crops were read again")
    yield


def test_the_second_reads_the_firsts_file_and_the_last_removes_it(
    crops: list[StandardisedCrop], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_shared(tmp_path, "key", "float32", lambda: crops)
    with caplog.at_level(logging.INFO):
        second = open_shared(tmp_path, "key", "float32", never)
    assert "another fold reads or uses the same crops" in caplog.text
    first.close()
    assert torch.equal(image_of(second, 2), torch.from_numpy(crops[2].image))
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_of_a_run_before_is_written_anew(
    crops: list[StandardisedCrop], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_cohort(tmp_path / "cohort_key", "float32", crops)
    open_shared(tmp_path, "key", "float32", never).close()
    write_cohort(tmp_path / "cohort_key", "float32", crops)
    with (tmp_path / "cohort_key" / "images").open("r+b") as stream:
        stream.seek(70_000)
        stream.write(b"x")
    with pytest.raises(DamageError, match="CRC-32"):
        CohortFile(tmp_path / "cohort_key").check()
    again = open_shared(tmp_path, "key", "float32", lambda: crops)
    assert "written anew" in caplog.text
    assert torch.equal(image_of(again, 2), torch.from_numpy(crops[2].image))
    again.close()


def hold(parent: str, crops_folder: str, ready: str, slow: bool) -> None:
    """A process that opens the file and keeps it until it is killed."""

    def slowly() -> Iterator[StandardisedCrop]:
        for number, crop in enumerate(standardised_crops(Path(crops_folder), IDS, "zscore")):
            yield crop
            if slow and number == 1:
                Path(ready).touch()
                time.sleep(60)

    shared = open_shared(Path(parent), "key", "float32", slowly)
    Path(ready).touch()
    time.sleep(60)
    shared.close()


@pytest.mark.parametrize(
    "slow",
    [pytest.param(True, id="while it writes", marks=pytest.mark.nightly), pytest.param(False, id="in use")],
)
def test_a_process_that_is_killed_leaves_no_lock(
    slow: bool, crops: list[StandardisedCrop], study: Path, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    shared = tmp_path / "shared"
    process = multiprocessing.get_context("spawn").Process(
        target=hold, args=(str(shared), str(study / "crops"), str(ready), slow)
    )
    process.start()
    while not ready.exists():
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    # Killed while it wrote: nothing has the name of a file, and the crops are read again.
    after = open_shared(shared, "key", "float32", (lambda: crops) if slow else never)
    assert torch.equal(image_of(after, 3), torch.from_numpy(crops[3].image))
    after.close()
    assert list(shared.iterdir()) == []


def test_what_a_run_with_other_crops_left_is_removed(crops: list[StandardisedCrop], tmp_path: Path) -> None:
    for key in ("left", "used"):
        write_cohort(tmp_path / f"cohort_{key}", "float32", crops)
        (tmp_path / f"cohort_{key}.lock").touch()
    used = open_shared(tmp_path, "used", "float32", never)
    shared = open_shared(tmp_path, "key", "float32", lambda: crops)
    assert sorted(path.name for path in tmp_path.glob("cohort_*")) == [
        "cohort_key",
        "cohort_key.lock",
        "cohort_used",
        "cohort_used.lock",
    ]
    assert torch.equal(image_of(used, 2), torch.from_numpy(crops[2].image))
    shared.close()
    used.close()
    assert list(tmp_path.iterdir()) == []


def test_who_waited_for_a_process_that_was_killed_looks_at_the_file_itself(
    crops: list[StandardisedCrop], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_cohort(tmp_path / "cohort_key", "float32", crops)
    with (tmp_path / "cohort_key" / "images").open("r+b") as stream:
        stream.seek(70_000)
        stream.write(b"x")
    waits = threading.Event()
    # A process that was killed while it looked at the file: its lock is gone, and it said nothing.
    with (tmp_path / "cohort_key.lock").open("a+") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with caplog.at_level(logging.INFO):
            waiting = pool.submit(open_shared, tmp_path, "key", "float32", lambda: waits.set() or crops)
            while "another fold reads or uses" not in caplog.text:
                time.sleep(0.01)
            fcntl.flock(lock, fcntl.LOCK_UN)
            shared = waiting.result(timeout=60)
    assert waits.is_set() and "written anew" in caplog.text
    assert torch.equal(image_of(shared, 2), torch.from_numpy(crops[2].image))
    shared.close()


def test_folds_of_a_study_share_their_file(job: Job, tmp_path: Path) -> None:
    jobs = [job(fold=fold, work=tmp_path / f"net_{fold}") for fold in (0, 1)]
    config = choose_device(jobs[0].training)
    first, second = (load_fold(work, config) for work in jobs)
    assert len(list(tmp_path.glob("cohort_*.lock"))) == 1
    other = load_fold(job(work=tmp_path / "hecktor_0", standardise="hecktor"), config)
    assert len(list(tmp_path.glob("cohort_*.lock"))) == 2
    for data in (first, second, other):
        data.close()
    assert not list(tmp_path.glob("cohort_*"))


def test_a_file_of_other_code_is_not_taken(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed run left was written by the code of then."""
    source = dataset.CohortSource(study / "crops", "zscore")
    before = source.key(IDS, "float32")
    assert before == source.key(IDS, "float32") != source.key(IDS, "float16")
    monkeypatch.setattr(dataset, "code_digest", lambda *modules: "another version")
    assert source.key(IDS, "float32") != before
