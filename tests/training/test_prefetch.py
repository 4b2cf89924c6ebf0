"""A cohort in a file: same batches, read ahead, and the training does not depend on where it lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.training import dataset
from pipeline.training.cohort_file import CohortFile, write_cohort
from pipeline.training.context import FoldJob
from pipeline.training.crops import standardised_crops
from pipeline.training.prefetch import Prefetcher
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]
IDS = [f"p{number:02d}" for number in range(9)]


def test_announced_or_not_a_batch_is_the_same(study: Path, tmp_path: Path) -> None:
    crops = list(standardised_crops(study / "crops", IDS, "zscore"))
    write_cohort(tmp_path / "cohort", "float32", crops)
    prefetcher = Prefetcher(CohortFile(tmp_path / "cohort"), torch.device("cpu"))
    for rows, announced in (([3, 1, 1], [3, 1, 1]), ([0, 8], [2, 2]), ([5], None)):
        if announced is not None:
            prefetcher.announce(announced)
        got = prefetcher.take(rows)
        for place, row in enumerate(rows):
            assert torch.equal(got.images[place], torch.from_numpy(crops[row].image))
            assert torch.equal(got.masks[place], torch.from_numpy(crops[row].mask))
    assert prefetcher.hits == 1
    prefetcher.close()


def test_a_device_with_room_changes_nothing_but_where_it_lies(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in: a CPU that says it has memory of its own, as an accelerator does."""
    settings = {"iterations": 6, "validate_every": 3}
    prefetchers: list[Prefetcher] = []
    real = Prefetcher.__init__

    def recorded(self: Prefetcher, *given: object) -> None:
        real(self, *given)  # type: ignore[arg-type]
        prefetchers.append(self)

    monkeypatch.setattr(Prefetcher, "__init__", recorded)
    train_fold(job(**settings), tmp_path / "file")
    # Five of six batches followed another one; validation between them takes the place of two.
    assert len(prefetchers) == 1 and prefetchers[0].hits >= 4
    monkeypatch.setattr(dataset, "free_bytes", lambda device: 1e9)
    train_fold(job(work=tmp_path / "w", **settings), tmp_path / "device")
    assert len(prefetchers) == 1
    places = [json.loads((tmp_path / n / "timing.json").read_text())["cohort"] for n in ("file", "device")]
    assert places == ["in a file, read one batch ahead", "on the device"]
    for name in ("checkpoint.pt", "history.csv", "predictions.parquet"):
        assert (tmp_path / "file" / name).read_bytes() == (tmp_path / "device" / name).read_bytes(), name
