"""What stays the same through the training of a fold: the job, the patients, the network."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import TrainingError
from pipeline.provenance import code_digest
from pipeline.settings.losses import LossSettings
from pipeline.settings.network import Network
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.splits import Splits, read_splits
from pipeline.training.batches import plain_batch
from pipeline.training.checkpoint import Fingerprint, digest
from pipeline.training.compile import maybe_compile
from pipeline.training.dataset import CohortSource, CohortTensors, load_cohort
from pipeline.training.device import DeviceConfig
from pipeline.training.pretrained import start_from_pretrained
from pipeline.training.sampler import Sampler, make_sampler

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.training.batches import Tensors

log = logging.getLogger(__name__)
WITHOUT_EFFECT = ("checkpoint_every", "tensorboard", "outputs")
"""Training settings that do not change the weights; they may differ between a run and its resumption."""


@dataclass(frozen=True)
class FoldJob:
    """One network in one fold.

    Attributes:
        model: Name the study gives the network.
        network: Settings of the network.
        training: The training section with the network's own overrides.
        crops: Folder of the crop stores, `{patient_id}.zarr`.
        outcomes: `cohort.parquet`.
        splits: `splits.json`.
        fold: Number of the fold, from 0.
        horizons_days: Times of the predicted survival probabilities.
        seed: Seed of the study.
        threads: Number of CPU threads; results are the same bit for bit for the same number.
        work: Folder for the checkpoint of a run that is under way. It must not be an output of
            the rule: Snakemake deletes a failed job's outputs.
        initial: `checkpoint.pt` of another model whose weights are the start
            (`training.pretrained_from`), or None.
        importance_permutations: Permutations of each input of a network that predicts survival; 0: none.
    """

    model: str
    network: Network
    training: TrainingSettings
    crops: Path
    outcomes: Path
    splits: Path
    fold: int
    horizons_days: tuple[float, ...]
    seed: int
    threads: int
    work: Path
    initial: Path | None = None
    importance_permutations: int = 0

    def fold_seed(self) -> int:
        """Seed of this model in this fold: 48 bits of a hash, so that no two runs share one."""
        text = f"{self.seed}\0{self.model}\0{self.fold}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


@dataclass(frozen=True)
class FoldData:
    """The patients of a fold.

    Attributes:
        cohort: Images, masks and targets of all patients.
        encoder: Encoder of clinical columns, fitted on the training patients.
        rows: Row numbers in the cohort by set: `train`, `validation`, `test`, `external`.
    """

    cohort: CohortTensors
    encoder: ClinicalEncoder
    rows: dict[str, list[int]]

    def set_of(self) -> dict[str, str]:
        """Patient id → set, in the order of the sets."""
        return {self.cohort.ids[row]: name for name, rows in self.rows.items() for row in rows}

    def close(self) -> None:
        """Give up the file of the crops; see :meth:`CohortTensors.close`."""
        self.cohort.close()


@dataclass(frozen=True)
class TrainContext:
    """What stays the same through a run (the tensors in `net` change).

    Attributes:
        net: The network.
        call: What runs it: `net` itself, or `net` compiled.
        cohort: All patients.
        device_config: Device, precision and memory order.
        sampler: Chooses the patients of each batch.
        training: Training settings.
        losses: Loss settings.
        seed: Seed of this model in this fold.
    """

    net: torch.nn.Module
    call: Callable[..., Tensors]
    cohort: CohortTensors
    device_config: DeviceConfig
    sampler: Sampler
    training: TrainingSettings
    losses: LossSettings
    seed: int

    def penalised_weights(self) -> list[torch.Tensor]:
        """Weight matrices of the L2 term; empty for a network that names none."""
        named = getattr(self.net, "penalised_weights", None)
        return list(named()) if named is not None else []

    def risk_set_columns(self) -> Tensors:
        """Centres and, where the study has outcomes, times of all patients, for the risk bank."""
        time = {} if self.cohort.time is None else {"time": self.cohort.time}
        return {**time, "centre": self.cohort.targets["centre"]}


def load_fold(job: FoldJob, device_config: DeviceConfig) -> FoldData:
    """All patients of a fold, covariates encoded by its training patients; close it in the end.

    Raises:
        TrainingError: There is no such fold; patients are missing in the cohort table, or lack a
            mask that the network needs; or see :func:`load_cohort`.
    """
    splits = _splits_of(job)
    _check_fold(job, splits)
    outcomes = read_outcomes(job.outcomes)
    sets = splits.sets(job.fold)
    members = sorted({patient_id for ids in sets.values() for patient_id in ids})
    _check_members(job, members, outcomes)
    outcomes = outcomes.loc[members]
    encoder = ClinicalEncoder.fit(outcomes.loc[list(sets["train"])], job.network.clinical)
    clinical = encoder.transform(outcomes)
    source = CohortSource(job.crops, job.training.standardise, job.training.stored_as, shared=job.work.parent)
    cohort = load_cohort(source, outcomes, clinical, device_config)
    rows = {str(name): cohort.rows(ids) for name, ids in sets.items()}
    try:
        _check_masks(job, cohort)
        _check_classes(job, cohort)
        _check_masks_to_learn(job, cohort, rows["train"])
    except TrainingError:
        cohort.close()
        raise
    return FoldData(cohort, encoder, rows)


def _splits_of(job: FoldJob) -> Splits:
    """Sets of the network's part of the cohort."""
    splits, subset = read_splits(job.splits), job.network.subset
    if subset and subset not in splits.subsets:
        raise TrainingError(
            "no usable patient is of the subset that a network is trained on",
            where=f"models.{job.model}.subset",
            expected=", ".join(splits.subsets) or "a column `subsets` in the cohort table",
            got=subset,
        )
    return splits.of_subset(subset)


def _check_fold(job: FoldJob, splits: Splits) -> None:
    if not 0 <= job.fold < len(splits.folds):
        raise TrainingError(
            "there is no such fold",
            where=str(job.splits),
            expected=f"0 to {len(splits.folds) - 1}",
            got=str(job.fold),
        )
    if len(splits.folds[job.fold].train) < 2:
        raise TrainingError(
            "too few training patients",
            where=f"model {job.model}, fold {job.fold}",
            expected="2 or more",
            got=f"{len(splits.folds[job.fold].train)} of {job.network.subset or 'the cohort'}",
            action="use fewer folds, or add patients",
        )
    if job.training.checkpoint_selection == "best_validation" and not splits.folds[job.fold].validation:
        raise TrainingError(
            "weights are chosen on validation patients, and there are none",
            where="training.checkpoint_selection: best_validation with plan.validation_fraction: 0",
            action="set plan.validation_fraction above 0, or training.checkpoint_selection: last",
        )


def _check_members(job: FoldJob, members: list[str], outcomes: pd.DataFrame) -> None:
    unknown = [patient_id for patient_id in members if patient_id not in outcomes.index]
    if unknown:
        raise TrainingError(
            "splits name patients that the cohort lacks",
            where=f"{job.splits}, {job.outcomes}",
            got=", ".join(unknown[:5]),
            action="run the rule plan again",
        )


def _check_masks(job: FoldJob, cohort: CohortTensors) -> None:
    without = [p for p, known in zip(cohort.ids, cohort.has_mask.tolist(), strict=True) if not known]
    if without and job.network.needs.manual_mask:
        raise TrainingError(
            "a network that multiplies the manual mask onto its input needs a mask of every patient",
            where=f"model {job.model}",
            got=f"{len(without)} patients without: {', '.join(without[:5])}",
            action="set masked: false, choose another network, or exclude these patients",
        )


def _check_classes(job: FoldJob, cohort: CohortTensors) -> None:
    expected = job.network.losses.mask_classes
    if expected and cohort.classes != expected and bool(cohort.has_mask.any()):
        raise TrainingError(
            "the crops' masks have other classes than the network",
            where=f"model {job.model}",
            expected=", ".join(expected),
            got=", ".join(cohort.classes) or "none",
            action="run the rules `contours` (or `ingest`) and `crop` again",
        )


def _check_masks_to_learn(job: FoldJob, cohort: CohortTensors, train: list[int]) -> None:
    """Refuse a network that is to learn masks where no training patient has one."""
    losses = job.network.losses
    weights = {"dice": losses.dice, "cross_entropy": losses.cross_entropy, "focal": losses.focal}
    terms = [f"losses.{name}" for name, weight in weights.items() if weight > 0]
    if not terms or "mask" not in job.network.gives() or bool(cohort.has_mask[train].any()):
        return
    raise TrainingError(
        "a network is to learn masks, and no training patient has a contour",
        where=f"model {job.model}, fold {job.fold}, {', '.join(terms)}",
        expected="training patients with a contour",
        got=f"{len(train)} training patients, none with one",
        action="give contours (contours.roi names those of the study), or name a network or tasks without mask",
    )


def make_context(job: FoldJob, data: FoldData, device_config: DeviceConfig) -> TrainContext:
    """The network, initialised by the fold's seed or another model's weights, and what trains it."""
    import torch

    from pipeline.nets.registry import build

    cohort, training, seed = data.cohort, job.training, job.fold_seed()
    torch.manual_seed(seed)
    covariates = 0 if cohort.clinical is None else cohort.clinical.shape[1]
    net = build(job.network, len(cohort.channels), covariates)
    if job.initial is not None:
        start_from_pretrained(net, job.initial)
    net = device_config.to_device(net, compiled=training.compile == "always")
    sampler = _make_sampler(data, training, seed)
    example = plain_batch(cohort, sampler.batch_at(0))
    decisions = job.work.parent / f"{job.model}_compile.json"
    call = maybe_compile(net, training.compile, device_config, example, decisions)
    return TrainContext(net, call, cohort, device_config, sampler, training, job.network.losses, seed)


def _make_sampler(data: FoldData, training: TrainingSettings, seed: int) -> Sampler:
    rows, event = data.rows["train"], data.cohort.event
    events = None if event is None else event.cpu().numpy()[rows].astype(int).tolist()
    sampler = make_sampler(rows, events, training.batch, seed, balance=training.balance_events)
    for note in sampler.notes():
        log.warning("%s", note)
    return sampler


def fingerprint_of(job: FoldJob, data: FoldData, context: TrainContext) -> Fingerprint:
    """What must be the same for a checkpoint to be continued: settings, data, code and start."""
    settings = {
        "model": job.model,
        "fold": job.fold,
        "seed": job.seed,
        "threads": job.threads,
        "network": job.network.model_dump(mode="json"),
        "training": job.training.model_dump(mode="json", exclude=set(WITHOUT_EFFECT)),
        "device": context.device_config.identity(),
    }
    fingerprint = {
        "settings": json.dumps(settings, sort_keys=True),
        "data": context.cohort.fingerprint() + str(sorted((k, tuple(v)) for k, v in data.rows.items())),
        "code": code_digest("pipeline.training.train_fold", type(context.net).__module__),
    }
    if job.initial is not None:
        # A first stage that was trained anew is another start, though its file has the same path.
        fingerprint["start"] = digest(job.initial.read_bytes())
    return fingerprint
