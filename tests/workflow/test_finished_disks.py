"""The finished studies of disks: networks that learn, a report without words of PET and CT.

Reads `results/disks_quick` (R-net alone, CI makes it) and `results/disks_small` (all three networks)
of this checkout; see docs/studies/disks.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.phantoms.disks import disk_image
from pipeline.settings.phantom import DiskSettings
from pipeline.store.crops import read_crop

RESULTS = Path(__file__).resolve().parents[2] / "results"
# Table 1 of the paper, test set: C-index and Dice.
PUBLISHED = {"r_net": (0.908, None), "sr_net": (0.919, 0.980), "sthenr_net": (0.896, 0.966)}
STUDIES = [
    pytest.param(
        name, marks=pytest.mark.skipif(not (RESULTS / name / "report" / "index.html").exists(), reason=name)
    )
    for name in ("disks_quick", "disks_small")
]
pytestmark = pytest.mark.finished


def figure(study: str, model: str, metric: str) -> float:
    metrics = pd.read_csv(RESULTS / study / "metrics" / "metrics.csv")
    rows = metrics[(metrics["model"] == model) & (metrics["set"] == "external")]
    return float(rows.loc[rows["metric"] == metric, "value"].iloc[0])


@pytest.mark.parametrize("study", STUDIES[:1])
def test_the_short_run_ranks_the_disks(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = figure(study, "r_net", "c_index")
    with capsys.disabled():
        print(f"\n  disks, short run: R-net's C-index on 100 external images {value:.3f}", end="")
    assert value >= 0.88


@pytest.mark.parametrize("study", STUDIES[1:])
def test_the_networks_reach_the_paper(study: str, capsys: pytest.CaptureFixture[str]) -> None:
    for model, (c_index, dice) in PUBLISHED.items():
        ours = figure(study, model, "c_index")
        with capsys.disabled():
            print(f"\n  disks, {model}: C-index {ours:.3f} (paper {c_index})", end="")
        assert ours >= c_index
        if dice is not None:
            value = figure(study, model, "dice")
            with capsys.disabled():
                print(f", Dice {value:.3f} (paper {dice})", end="")
            assert value >= dice


@pytest.mark.parametrize("study", STUDIES)
def test_a_perfect_area_is_the_ceiling(study: str) -> None:
    # 1 − (2/7)·0.1·√2·φ(0) = 0.984 for uniform areas; 100 images scatter around it.
    assert figure(study, "true_area", "c_index") == pytest.approx(0.984, abs=0.006)


@pytest.mark.parametrize("study", STUDIES)
def test_the_store_holds_the_generated_images(study: str) -> None:
    crop = read_crop(RESULTS / study / "crops" / "D0500.zarr")
    disk = disk_image(500, DiskSettings())
    np.testing.assert_array_equal(crop.image[0, 0], disk.image)
    assert crop.mask is not None
    np.testing.assert_array_equal(crop.mask[0], disk.mask)


@pytest.mark.parametrize("study", STUDIES)
def test_no_external_image_was_learned_from(study: str) -> None:
    splits = json.loads((RESULTS / study / "splits.json").read_text())
    assert len(splits["external"]) == 100
    for fold in splits["folds"]:
        assert not set(splits["external"]) & {*fold["train"], *fold["validation"]} and not fold["test"]
        assert len(fold["train"]) + len(fold["validation"]) == 400


@pytest.mark.parametrize("study", STUDIES)
def test_the_report_speaks_of_images_without_modality(study: str) -> None:
    page = (RESULTS / study / "report" / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S))
    for word in ("PET", "CT", "SUV", "Hounsfield", "coronal", "fold that held", "nan"):
        assert not re.search(rf"\b{word}\b", text), word
