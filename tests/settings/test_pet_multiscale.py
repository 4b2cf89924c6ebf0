"""The study of the PET multi-scale paper: what it asks for is what the paper did."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from pipeline.nets.registry import build
from pipeline.settings.root import Settings, load_settings

PAPERS = Path(__file__).resolve().parents[2] / "config" / "studies" / "papers"


def read(name: str) -> Settings:
    return load_settings(yaml.safe_load((PAPERS / f"{name}.yaml").read_text(encoding="utf-8")))


def test_the_network_of_all_tasks_has_the_parameters_of_pet_alone() -> None:
    """156,162,180 with one channel; a CT beside it added a kernel and an image to reconstruct: 156,163,973."""
    settings = read("pet_multiscale")
    network = settings.networks()["t1234_gt"]
    counts = []
    for channels in (settings.crop.channels, ("pet", "ct")):
        with torch.device("meta"):
            net = build(network, len(channels), 0)
        counts.append(sum(p.numel() for p in net.parameters()))
    assert counts == [156_162_180, 156_163_973]


def test_images_masks_and_sets_are_the_papers() -> None:
    settings = read("pet_multiscale")
    assert settings.crop.channels == ("pet",) and settings.crop.interpolation == "nearest"
    assert settings.crop.spacing_mm == (2.0, 2.0, 2.0)
    assert settings.contours.auto_segment == "threshold_40"
    # 115 train, 40 choose the epoch, 40 are locked (section 3.2).
    assert settings.plan.folds == 1 and round(155 * settings.plan.validation_fraction) == 40
    assert settings.paper is not None
    assert {source.set for _, source in settings.paper.sources()} == {"external"}
    assert settings.explain.target == "label_outcome"


@pytest.mark.parametrize("cancer", ["oesophageal", "lung"])
def test_every_printed_cell_has_its_own_model_and_cancer(cancer: str) -> None:
    settings = read("pet_multiscale")
    assert settings.paper is not None
    level = {"oesophageal": 0, "lung": 1}[cancer]
    tables = {key: table for key, table in settings.paper.tables.items() if key.endswith(cancer)}
    assert [len(table.rows) for table in tables.values()] == [15, 4, 10, 5, 4]  # Tables 1 to 5
    for table in tables.values():
        models = [row.model for row in table.rows]
        assert len(set(models)) == len(models)
        for row in table.rows:
            for column in row.printed:
                source = table.source(row, column)
                whole = source.metric.startswith("label_pathology")
                assert source.subgroup == ("" if whole else f"label_pathology={level}")
    named = {row.model for table in tables.values() for row in table.rows}
    assert named == set(settings.models)


def test_the_small_study_has_the_same_models_and_the_papers_tables() -> None:
    whole, small = read("pet_multiscale"), read("pet_multiscale_small")
    assert {name: m.kind for name, m in whole.models.items()} == {n: m.kind for n, m in small.models.items()}
    assert small.paper == whole.paper and small.crop.channels == ("pet",)
