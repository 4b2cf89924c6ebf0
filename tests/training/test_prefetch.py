"""A cohort that does not fit the device: same batches, fetched ahead, and it is told."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.training import dataset
from pipeline.training.context import FoldJob
from pipeline.training.prefetch import Prefetcher
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]


def test_announced_or_not_a_batch_is_the_same() -> None:
    images, masks = torch.rand(9, 2, 4, 4, 4), torch.randint(0, 2, (9, 4, 4, 4)).byte()
    prefetcher = Prefetcher(images, masks, torch.device("cpu"))
    for rows, announced in (([3, 1, 1], [3, 1, 1]), ([0, 8], [2, 2]), ([5], None)):
        if announced is not None:
            prefetcher.announce(announced)
        got = prefetcher.take(rows)
        assert torch.equal(got.images, images[rows]) and torch.equal(got.masks, masks[rows])
    assert prefetcher.hits == 1


def test_a_device_too_small_changes_nothing_but_where_it_lies(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"iterations": 6, "validate_every": 3}
    train_fold(job(work=tmp_path / "w", **settings), tmp_path / "fits")
    monkeypatch.setattr(dataset, "free_bytes", lambda device: 1e5)
    prefetchers: list[Prefetcher] = []
    real = Prefetcher.__init__

    def recorded(self: Prefetcher, *given: object) -> None:
        real(self, *given)  # type: ignore[arg-type]
        prefetchers.append(self)

    monkeypatch.setattr(Prefetcher, "__init__", recorded)
    with caplog.at_level(logging.WARNING):
        train_fold(job(**settings), tmp_path / "not")
    assert "cohort in host memory, fetched one batch ahead" in caplog.text
    places = [json.loads((tmp_path / n / "timing.json").read_text())["cohort"] for n in ("fits", "not")]
    assert places == ["on the device", "in host memory"]
    for name in ("checkpoint.pt", "history.csv", "predictions.parquet"):
        assert (tmp_path / "fits" / name).read_bytes() == (tmp_path / "not" / name).read_bytes(), name
    # Five of six batches followed another one; validation between them takes the place of two.
    assert prefetchers[0].hits >= 4
