"""Classes of the mask from crops to predictions: labels, counts and Dice by hand, and a trained fold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from pipeline.errors import TrainingError
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.deepmts import MtHs
from pipeline.store.crops import read_crop, write_crop
from pipeline.tables.splits import read_splits
from pipeline.training.context import FoldJob
from pipeline.training.mask_classes import ClassOverlaps, predicted_labels
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]
CLASSES = ("gtvp", "gtvn")


def test_a_voxel_is_of_the_most_probable_class_where_there_is_tumour() -> None:
    # Voxels: none; class 1; class 2; tumour of which no class has one half (by hand).
    classes = torch.tensor([[0.2, 0.7, 0.1, 0.3], [0.1, 0.2, 0.8, 0.4]]).reshape(1, 2, 1, 1, 4)
    labels = predicted_labels({"mask": classes.sum(1), "class_masks": classes})
    assert labels.flatten().tolist() == [0, 1, 2, 2] and labels.dtype == torch.uint8
    assert predicted_labels({"mask": classes.sum(1)}).flatten().tolist() == [0, 1, 1, 1]


def test_counts_and_dice_by_hand() -> None:
    classes = torch.zeros(3, 2, 1, 1, 6)
    classes[0, 0, 0, 0, :3], classes[0, 1, 0, 0, 4] = 0.9, 0.9  # 1 1 1 0 2 0
    classes[1, 0, 0, 0, 0] = 0.9  # 1 0 0 0 0 0
    manual = torch.tensor([[0, 1, 1, 1, 2, 2], [0, 2, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]]).float()
    targets = {"mask": manual.reshape(3, 1, 1, 6), "mask_known": torch.tensor([True, True, False])}
    overlaps = ClassOverlaps(CLASSES)
    overlaps.add({"mask": classes.amax(1), "class_masks": classes}, targets)
    columns = overlaps.columns()
    expected = {
        "overlap_voxels_union": [3, 0],
        "size_voxels_union": [9, 2],
        "overlap_voxels_gtvp": [2, 0],
        "size_voxels_gtvp": [6, 1],
        "dice_gtvp": [4 / 6, 0],
        "overlap_voxels_gtvn": [1, 0],
        "size_voxels_gtvn": [3, 1],
        "dice_gtvn": [2 / 3, 0],
    }
    assert list(columns) == list(expected)
    for name, values in expected.items():
        assert columns[name][:2].tolist() == pytest.approx(values) and np.isnan(columns[name][2])


def test_a_mask_without_classes_is_counted_whole() -> None:
    # Voxels in both, in the one and in the other, by hand; nobody drew a mask of the third patient.
    predicted = torch.tensor([[0.9, 0.6, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0], [0.9, 0.9, 0.9, 0.9]])
    manual = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    known = torch.tensor([True, True, False])
    overlaps = ClassOverlaps()
    overlaps.add(
        {"mask": predicted.reshape(3, 1, 1, 4)}, {"mask": manual.reshape(3, 1, 1, 4), "mask_known": known}
    )
    columns = overlaps.columns()
    assert list(columns) == ["overlap_voxels_union", "size_voxels_union"]
    assert columns["overlap_voxels_union"].tolist()[:2] == [1, 0] and np.isnan(
        columns["overlap_voxels_union"][2]
    )
    assert columns["size_voxels_union"].tolist()[:2] == [5, 0]
    without = ClassOverlaps()
    without.add({"log_hazard": torch.zeros(3)}, {"mask_known": known})
    assert not without.columns()


@pytest.fixture
def classed(study: Path, tmp_path: Path) -> Path:
    """The synthetic study's crops, the lower half of each ball being a second class."""
    folder = tmp_path / "crops"
    for path in sorted((study / "crops").glob("*.zarr")):
        crop = read_crop(path)
        assert crop.mask is not None
        mask = crop.mask.copy()
        mask[8:] *= 2
        write_crop(
            folder / path.name, replace(crop, mask=mask, attributes=replace(crop.attributes, classes=CLASSES))
        )
    return folder


def test_a_fold_is_trained_with_classes(job: Job, classed: Path, tmp_path: Path) -> None:
    network = MtHs(width=0.25, losses=LossSettings(mask_classes=CLASSES))
    made = job(network=network, crops=classed, iterations=4, outputs=("masks",), tta_flip=True)
    train_fold(made, tmp_path / "out")
    masks = zarr.open_group(tmp_path / "out" / "masks.zarr", mode="r")
    assert masks.attrs["classes"] == list(CLASSES)
    table = pd.read_parquet(tmp_path / "out" / "predictions.parquet").set_index("patient_id")
    for patient in read_splits(made.splits).sets(0)["test"]:
        truth = read_crop(classed / f"{patient}.zarr").mask
        mask = masks[patient][:]
        for label, name in enumerate(CLASSES, start=1):
            both = int(((mask == label) & (truth == label)).sum())
            size = int((mask == label).sum() + (truth == label).sum())
            assert table.loc[patient, f"overlap_voxels_{name}"] == both
            assert table.loc[patient, f"size_voxels_{name}"] == size
        assert table.loc[patient, "size_voxels_union"] == (mask > 0).sum() + (truth > 0).sum()
        assert table.loc[patient, "dice"] == pytest.approx(
            2 * table.loc[patient, "overlap_voxels_union"] / table.loc[patient, "size_voxels_union"]
        )
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["patients"]["train"] > 0


def test_crops_of_other_classes_are_refused(job: Job, classed: Path, study: Path, tmp_path: Path) -> None:
    other = MtHs(width=0.25, losses=LossSettings(mask_classes=("gtvp", "bone")))
    with pytest.raises(TrainingError, match="other classes.*gtvp, bone.*gtvp, gtvn"):
        train_fold(job(network=other, crops=classed), tmp_path / "out")
    with pytest.raises(TrainingError, match="other classes.*got: none"):
        train_fold(job(network=other), tmp_path / "out")
    (first, *_) = sorted(classed.glob("*.zarr"))
    write_crop(first, read_crop(study / "crops" / first.name))
    with pytest.raises(TrainingError, match="masks differ in their classes"):
        train_fold(job(network=other, crops=classed), tmp_path / "out")
