"""Permuted inputs of a network whose risk is known, and of a trained fold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.deepmts import MtHs
from pipeline.tables.predictions import PERMUTED_RISKS, read_permuted_risks
from pipeline.tables.splits import read_splits
from pipeline.training.batches import Tensors
from pipeline.training.context import FoldJob, load_fold
from pipeline.training.device import choose_device
from pipeline.training.importance import inputs_of, permuted_risks
from pipeline.training.predict import Predictor
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]


def known_risk(image: torch.Tensor, clinical: torch.Tensor, mask: torch.Tensor) -> Tensors:
    """Mean of the PET, the first clinical column and the volume of the contour, on scales far apart."""
    pet, volume = image[:, 0].mean((1, 2, 3)), mask.sum((1, 2, 3))
    return {"log_hazard": pet + 100 * clinical[:, 0] + 1e4 * volume}


@pytest.mark.parametrize("column", ["image pet", "image ct", "contour", "clinical_age", "clinical_stage"])
def test_one_input_is_another_patients_and_all_others_stay(job: Job, column: str) -> None:
    made = job()
    device_config = choose_device(made.training)
    data = load_fold(made, device_config)
    inputs = inputs_of(data.cohort.channels, data.encoder, manual_mask=True)
    assert list(inputs) == ["image pet", "image ct", "contour", "clinical_age", "clinical_stage"]
    rows = data.rows["test"]
    predictor = Predictor(known_risk, device_config, LossSettings(), 4)
    position = list(inputs).index(column)
    table = permuted_risks(predictor, data.cohort, rows, inputs, 2, 7)
    found = table[(table["column"] == column) & (table["permutation"] == 1)]
    assert found["patient_id"].tolist() == [data.cohort.ids[row] for row in rows]
    order = np.random.default_rng([7, position, 1]).permutation(len(rows))
    assert (order != np.arange(len(rows))).any()
    taken = data.cohort.take(rows)
    assert data.cohort.clinical is not None
    margin = data.cohort.margin
    inner = slice(margin, -margin) if margin else slice(None)
    pet = taken.images[:, 0, inner, inner, inner].float().mean((1, 2, 3))
    volume = taken.masks[:, inner, inner, inner].float().sum((1, 2, 3))
    age = data.cohort.clinical[rows, 0]
    exchanged = torch.from_numpy(order)
    pet = pet[exchanged] if column == "image pet" else pet
    volume = volume[exchanged] if column == "contour" else volume
    age = age[exchanged] if column == "clinical_age" else age
    expected = (pet + 100 * age + 1e4 * volume).double().numpy()
    np.testing.assert_allclose(found["risk"].to_numpy(), expected, rtol=1e-5)


def test_a_fold_writes_them_where_they_are_asked_for_and_trains_the_same(job: Job, tmp_path: Path) -> None:
    network = MtHs(width=0.25, clinical=("clinical_age", "clinical_stage"))
    made = job(network=network, iterations=2, outputs=(), importance_permutations=3)
    train_fold(made, tmp_path / "asked")
    table = read_permuted_risks(tmp_path / "asked" / PERMUTED_RISKS)
    test = read_splits(made.splits).sets(0)["test"]
    assert table.groupby(["column", "permutation"]).size().tolist() == [len(test)] * 4 * 3
    assert set(table["patient_id"]) == set(test) and np.isfinite(table["risk"]).all()
    train_fold(job(network=network, iterations=2, outputs=()), tmp_path / "plain")
    assert not (tmp_path / "plain" / PERMUTED_RISKS).exists()
    first, second = (pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("asked", "plain"))
    pd.testing.assert_frame_equal(first, second)
