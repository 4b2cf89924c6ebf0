"""Slices and masks in parallel folders: a table with groups, or a refusal where volumes are not told."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.errors import TableError
from pipeline.planning.folds import divide
from pipeline.releases.draft_release import draft_release
from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort import read_cohort
from pipeline.workflow.study import load_study

DATA = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).parents[3] / "shared" / "data"))


def released(root: Path, sheet: str = "slice_id,volume\n1,A\n2,A\n3.png,B\n") -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
        for number in (1, 2, 3):
            Image.fromarray(np.full((4, 4), number, np.uint8)).save(root / folder / f"{number}.png")
    if sheet:
        (root / "volumes.csv").write_text(sheet)
    return root


def test_the_table_groups_slices_by_volume(tmp_path: Path) -> None:
    data = released(tmp_path / "data")
    (data / "masks" / "2.png").unlink()
    release, files = draft_release("slices", data, tmp_path / "mine.csv")
    assert release.left_out == {"2": "there is no mask of this name"}
    settings = CohortSettings(table=str(files.table), source="slices", image_root=str(data))
    patients = read_cohort(settings).patients
    assert [(p.patient_id, p.group, p.image_path, p.roi) for p in patients] == [
        ("1", "A", "images/1.png", "../masks/1.png"),
        ("3", "B", "images/3.png", "../masks/3.png"),
    ]
    assert "cohort:\n  source: slices" in files.study.read_text()


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("", "no sheet tells which slices are of one volume.*give each a volume of its own"),
        ("slice_id,age\n1,60\n", "no sheet tells which slices"),
        ("slice_id,volume\n1,A\n1,B\n", "a slice is of two volumes.*1: A, B"),
        ("slice_id,volume\n9,A\n", "no slice has an image, a mask and a volume"),
    ],
)
def test_without_volumes_nothing_is_drafted(tmp_path: Path, sheet: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        draft_release("slices", released(tmp_path / "data", sheet), tmp_path / "mine.csv")


def test_folders_must_be_told_apart(tmp_path: Path) -> None:
    data = released(tmp_path / "data")
    (data / "ct").mkdir()
    with pytest.raises(TableError, match="the folder of images is not one.*ct, images"):
        draft_release("slices", data, tmp_path / "mine.csv")


@pytest.mark.skipif(not (DATA / "chest_ct").is_dir(), reason="no real slices on this machine")
def test_no_volume_of_the_real_slices_is_on_both_sides(tmp_path: Path) -> None:
    _, files = draft_release("slices", DATA / "chest_ct", tmp_path / "real.csv")
    study = load_study(yaml.safe_load(files.study.read_text()))
    volume = {p.patient_id: p.group for p in study.cohort.patients}
    assert len(volume) == 408 and len(set(volume.values())) == 205
    for fold in divide(study.cohort.patients, study.settings.plan, study.settings.study.seed):
        sides = [{volume[p] for p in ids} for ids in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 205
        assert 70 <= len(fold.test) <= 95
