"""A fold from crops to predictions: contract, repeatability, leaks, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from pipeline.errors import CheckpointError, DamageError, TrainingError
from pipeline.metrics.baseline import in_sample_baseline
from pipeline.metrics.segmentation import lesion_agreement, surface_distances
from pipeline.planning.cross_splits import write_cross_splits
from pipeline.settings.classical import LassoCox
from pipeline.settings.networks.deepmts import MtHs, SegBackbone
from pipeline.survival.deep_feature_blocks import DeepSource
from pipeline.survival.model_job import ModelJob
from pipeline.survival.survival import fit_model
from pipeline.tables.predictions import LESIONS, read_predictions
from pipeline.tables.splits import read_splits
from pipeline.training import step, trainer
from pipeline.training.batches import Batch
from pipeline.training.checkpoint import unpack
from pipeline.training.context import FoldJob, TrainContext
from pipeline.training.train_fold import train_fold

Job = Callable[..., FoldJob]
SAME = ("checkpoint.pt", "history.csv", "predictions.parquet", "deep_features.parquet")


def test_outputs_keep_their_contract(job: Job, study: Path, tmp_path: Path) -> None:
    train_fold(job(), tmp_path / "out")
    sets = read_splits(study / "splits.json").sets(0)
    table = read_predictions(tmp_path / "out" / "predictions.parquet")
    for name, members in sets.items():
        assert set(table.loc[table["set"] == name, "patient_id"]) == set(members)
    for column in ("survival_365.25d", "survival_730.5d", "dice"):
        assert table[column].dropna().between(0, 1).all()
    assert (table["survival_365.25d"] >= table["survival_730.5d"])[table["survival_730.5d"].notna()].all()
    masks = zarr.open_group(tmp_path / "out" / "masks.zarr", mode="r")
    assert set(masks) == {*sets["validation"], *sets["test"], *sets["external"]}
    mask = masks[sets["test"][0]]
    assert mask.shape == (16, 16, 16) and mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}
    far = table.set_index("patient_id")[["hd95_mm", "assd_mm"]]
    lesions = table.set_index("patient_id")[list(LESIONS)]
    assert far.loc[list(sets["train"])].isna().all(axis=None)
    assert lesions.loc[list(sets["train"])].isna().all(axis=None)
    for patient in (*sets["validation"], *sets["test"], *sets["external"]):
        truth = zarr.open_group(study / "crops" / f"{patient}.zarr", mode="r")["mask"][:] > 0
        both = surface_distances(masks[patient][:] > 0, truth, (4.0, 4.0, 4.0))
        assert tuple(far.loc[patient]) == pytest.approx((both.hd95, both.assd))
        agreement = lesion_agreement(masks[patient][:] > 0, truth, (4.0, 4.0, 4.0))
        assert tuple(lesions.loc[patient]) == pytest.approx(agreement.columns())
    features = pd.read_parquet(tmp_path / "out" / "deep_features.parquet")
    assert list(features["patient_id"]) == list(table["patient_id"]) and features.shape[1] > 10
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert list(history["iteration"]) == [4, 4, 8, 8, 12, 12]
    assert list(history["set"]) == ["train", "validation"] * 3
    assert {"loss", "dice", "c_index", "learning_rate", "loss_cox", "loss_dice"} <= set(history.columns)
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["completed.pt", "lock"]


def _assert_baseline_of_own_patients(fold_job: FoldJob, baseline: dict[str, Any], out: Path) -> None:
    """Slope of validation patients, hazard of training and validation patients; nobody else has a part in it."""
    fold = read_splits(fold_job.splits).folds[fold_job.fold]
    own = [*fold.validation, *fold.train]
    outcome = pd.read_parquet(fold_job.outcomes).loc[own]
    table = pd.read_parquet(out / "predictions.parquet").set_index("patient_id")
    expected = in_sample_baseline(
        outcome["time_days"].to_numpy(float),
        outcome["event"].to_numpy(float),
        table.loc[own, "risk"].to_numpy(),
        np.arange(len(own)) < len(fold.validation),
    )
    assert baseline["slope"] == pytest.approx(expected.slope, abs=1e-5)
    assert baseline["hazard"] == pytest.approx(expected.hazard.tolist(), rel=1e-3)
    said = json.loads((out / "model.json").read_text())["baseline"]
    assert (said["patients"], said["events"]) == (len(own), outcome["event"].sum())


def test_the_checkpoint_says_all_that_prediction_needs(job: Job, tmp_path: Path) -> None:
    train_fold(job(), tmp_path / "out")
    content = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    about = json.loads(content["about"])
    assert about["network"]["kind"] == "mt_hs" and about["channels"] == ["pet", "ct"]
    assert about["training"]["standardise"] == "zscore" and about["clinical"]["order"][0] == "clinical_age"
    assert about["baseline"]["times"]
    _assert_baseline_of_own_patients(job(), about["baseline"], tmp_path / "out")
    assert about["selection"]["iteration"] in (4, 8, 12)
    assert all(isinstance(value, torch.Tensor) for value in content["net"].values())


def test_equal_jobs_give_equal_bytes(job: Job, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_fold(job(work=tmp_path / f"work_{name}"), tmp_path / name)
    for name in SAME:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_seed_model_and_fold_each_change_the_run(job: Job, tmp_path: Path) -> None:
    seeds = {job(**c).fold_seed() for c in ({}, {"seed": 2}, {"model": "b"}, {"fold": 1})}
    assert len(seeds) == 4


def _weights(out: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(out / "checkpoint.pt", weights_only=True)["net"]
    return weights


@pytest.mark.parametrize("which", ["test", "external"])
def test_outcomes_of_predicted_patients_do_not_reach_the_weights(
    job: Job, study: Path, tmp_path: Path, which: str
) -> None:
    """The leak test: shuffling held-out or external outcomes and covariates changes nothing."""
    members = list(read_splits(study / "splits.json").sets(0)[which])  # type: ignore[index]
    table = pd.read_parquet(study / "cohort.parquet")
    changed = table.copy()
    columns = ["time_days", "event", "clinical_age"]
    changed.loc[members, columns] = table.loc[members, columns].to_numpy()[::-1]
    assert not changed.equals(table)
    changed.to_parquet(tmp_path / "shuffled.parquet")
    train_fold(job(), tmp_path / "a")
    train_fold(job(outcomes=tmp_path / "shuffled.parquet"), tmp_path / "b")
    a, b = _weights(tmp_path / "a"), _weights(tmp_path / "b")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_outcomes_of_training_patients_do_reach_them(job: Job, study: Path, tmp_path: Path) -> None:
    """What makes the leak test able to fail."""
    members = list(read_splits(study / "splits.json").sets(0)["train"])
    changed = pd.read_parquet(study / "cohort.parquet")
    changed.loc[members, "time_days"] = changed.loc[members, "time_days"].to_numpy()[::-1]
    changed.to_parquet(tmp_path / "shuffled.parquet")
    train_fold(job(), tmp_path / "a")
    train_fold(job(outcomes=tmp_path / "shuffled.parquet"), tmp_path / "b")
    a, b = _weights(tmp_path / "a"), _weights(tmp_path / "b")
    assert any(not torch.equal(a[name], b[name]) for name in a)


def test_a_checkpoint_of_other_settings_is_refused(job: Job, tmp_path: Path) -> None:
    first = job(iterations=6)
    with pytest.raises(TrainingError):
        _stop_after(first, tmp_path / "out", 4)
    with pytest.raises(
        CheckpointError, match=r"training.batch 4 in the checkpoint, 6 now.*delete the folder"
    ):
        train_fold(job(iterations=6, batch=6), tmp_path / "out")
    train_fold(job(iterations=6, checkpoint_every=5), tmp_path / "out")


def _stop_after(work: FoldJob, out: Path, iteration: int) -> None:
    """Send SIGTERM to this process once an iteration is done."""
    real = trainer.train_step

    def step(run: trainer.TrainState, number: int) -> None:
        real(run, number)
        if number + 1 == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer, "train_step", step)
        train_fold(work, out)


def test_sigterm_saves_and_says_how_to_go_on(job: Job, tmp_path: Path) -> None:
    train_fold(job(work=tmp_path / "w"), tmp_path / "whole")
    with pytest.raises(TrainingError, match=r"stopped by SIGTERM; nothing is lost.*iteration 5 of 12"):
        _stop_after(job(), tmp_path / "out", 5)
    train_fold(job(), tmp_path / "out")
    for name in SAME:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


@pytest.mark.parametrize("damage", ["cut", "pickle"])
def test_a_damaged_checkpoint_costs_time_and_nothing_else(
    job: Job, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    train_fold(job(work=tmp_path / "w"), tmp_path / "whole")
    with pytest.raises(TrainingError):
        _stop_after(job(), tmp_path / "out", 4)
    path = tmp_path / "work" / "checkpoint.pt"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        torch.save({"format": 1, "evil": Path("x")}, path)  # needs more than weights_only allows
    train_fold(job(), tmp_path / "out")
    assert (
        "starts from the beginning, as its checkpoint is damaged" in caplog.text and str(path) in caplog.text
    )
    for name in SAME:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name


def test_a_checkpoint_of_another_format_is_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(TrainingError):
        _stop_after(job(), tmp_path / "out", 4)
    path = tmp_path / "work" / "checkpoint.pt"
    torch.save({"format": 99}, path)
    with pytest.raises(CheckpointError, match=rf"{path}.*delete"):
        train_fold(job(), tmp_path / "out")


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_crop_stops_the_training(job: Job, tmp_path: Path, damage: str) -> None:
    crops = tmp_path / "crops"
    shutil.copytree(job().crops, crops)
    store = sorted(crops.glob("*.zarr"))[3]
    chunk = sorted(path for path in (store / "image/c").rglob("*") if path.is_file())[0]
    data = bytearray(chunk.read_bytes())
    if damage == "gone":
        chunk.unlink()
    else:
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data if damage == "flipped" else data[:-5])
    with pytest.raises(DamageError, match=rf"where: {chunk};.*delete {store} and run") as refusal:
        train_fold(job(crops=crops), tmp_path / "out")
    assert refusal.value.exit_code == 74 and not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_names_the_patients(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = step.forward

    def poisoned(context: TrainContext, batch: Batch) -> dict[str, torch.Tensor]:
        outputs = real(context, batch)
        outputs["log_hazard"] = outputs["log_hazard"] * torch.where(batch.rows == 3, torch.nan, 1.0)
        return outputs

    monkeypatch.setattr(step, "forward", poisoned)
    with pytest.raises(TrainingError, match=r"not a finite number.*iteration \d+, patients .*p03.*cox nan"):
        train_fold(job(iterations=30, fold=_fold_training("p03", job)), tmp_path / "out")


def _fold_training(patient_id: str, job: Job) -> int:
    splits = read_splits(job().splits)
    return next(k for k, fold in enumerate(splits.folds) if patient_id in fold.train)


def test_best_inner_keeps_the_best_and_patience_stops(job: Job, tmp_path: Path) -> None:
    train_fold(
        job(
            iterations=40, validate_every=2, patience=2, schedule={"kind": "constant", "learning_rate": 0.05}
        ),
        tmp_path / "out",
    )
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    validation = history[history["set"] == "validation"]
    about = json.loads(torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["about"])
    chosen = about["selection"]
    assert chosen["iteration"] == validation.loc[validation["loss"].idxmin(), "iteration"]
    assert chosen["iterations_run"] == chosen["iteration"] + 4 < 40


def test_held_out_patients_are_looked_at_only_where_asked_for(job: Job, tmp_path: Path) -> None:
    train_fold(job(checkpoint_selection="best_test"), tmp_path / "a")
    train_fold(job(checkpoint_selection="last"), tmp_path / "b")
    assert set(pd.read_csv(tmp_path / "a" / "history.csv")["set"]) == {"train", "validation", "test"}
    assert set(pd.read_csv(tmp_path / "b" / "history.csv")["set"]) == {"train", "validation"}


def test_starting_from_another_model_takes_what_fits(job: Job, tmp_path: Path) -> None:
    train_fold(job(iterations=4), tmp_path / "first")
    second = job(iterations=4, model="second", initial=tmp_path / "first" / "checkpoint.pt")
    other = job(
        iterations=4,
        network=MtHs(width=0.5),
        initial=tmp_path / "first" / "checkpoint.pt",
        work=tmp_path / "w2",
    )
    train_fold(second, tmp_path / "second")
    fresh = job(iterations=4, model="second", work=tmp_path / "w3")
    train_fold(fresh, tmp_path / "fresh")
    a, b, c = (_weights(tmp_path / n) for n in ("first", "second", "fresh"))
    name = next(n for n in a if a[n].ndim == 5)
    # Four small steps away from where the first one ended; a fresh one is elsewhere.
    assert (a[name] - b[name]).abs().max() < 0.02 < (a[name] - c[name]).abs().max()
    with pytest.raises(CheckpointError, match="no layer"):
        train_fold(other, tmp_path / "other")


def test_a_network_without_survival_leaves_no_number_of_it(job: Job, study: Path, tmp_path: Path) -> None:
    """With outcomes or without: the same masks, and no risk, baseline hazard or survival probability."""
    plain = tmp_path / "plain.parquet"
    pd.read_parquet(study / "cohort.parquet").drop(columns=["time_days", "event"]).to_parquet(plain)
    network, tables = SegBackbone(width=0.25), []
    for name, changes in (("with", {}), ("without", {"outcomes": plain})):
        work = job(
            network=network, iterations=4, balance_events=False, outputs=("masks",), work=tmp_path / f"w{name}",
            **changes,
        )  # fmt: skip
        train_fold(work, tmp_path / name)
        tables.append(pd.read_parquet(tmp_path / name / "predictions.parquet"))
        voxels = ["overlap_voxels_union", "size_voxels_union"]
        measures = ["dice", "hd95_mm", "assd_mm", *LESIONS, *voxels]
        assert list(tables[-1].columns) == ["patient_id", "set", *measures]
        about = json.loads(unpack(tmp_path / name / "checkpoint.pt")["about"])
        assert "baseline" not in about
        history = pd.read_csv(tmp_path / name / "history.csv")
        assert history["c_index"].isna().all() and history["dice"].notna().any()
    pd.testing.assert_frame_equal(*tables)
    with pytest.raises(TrainingError, match="the loss term cox lacks its target"):
        train_fold(job(outcomes=plain, balance_events=False), tmp_path / "cox")


def test_deep_features_of_cross_fitted_networks_reach_a_classical_model(
    job: Callable[..., FoldJob], study: Path, tmp_path: Path
) -> None:
    cross = tmp_path / "cross_splits.json"
    write_cross_splits(study / "splits.json", study / "cohort.parquet", 2, 0, cross)
    folds = len(read_splits(study / "splits.json").folds)
    tables = []
    for m in range(2 * folds):
        out = tmp_path / f"cross{m}"
        train_fold(job(splits=cross, fold=m, iterations=2, outputs=("deep_features",)), out)
        tables.append(out / "deep_features.parquet")
    model = LassoCox(features=(), deep="net", spearman=0.9, l1_ratio=0.5)
    fit = ModelJob(
        "deep",
        model,
        None,
        study / "cohort.parquet",
        study / "splits.json",
        (365.25,),
        seed=1,
        deep=DeepSource(tuple(tables), cross),
    )
    fit_model(fit, tmp_path / "deep")
    for k in range(folds):
        frame = pd.read_parquet(tmp_path / "deep" / f"fold{k}" / "predictions.parquet")
        assert np.isfinite(frame["risk"]).all()
        assert set(frame["set"]) == {"train", "validation", "test", "external"}
