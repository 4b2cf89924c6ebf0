"""Maps of what a trained network depends on, and whether they mean something: the rule `explain_model`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.console import progress
from pipeline.errors import TrainingError
from pipeline.explain.figures import PatientMaps, draw_maps, draw_sanity
from pipeline.explain.randomisation_test import (
    MapCorrelation,
    Maps,
    NetworkPair,
    randomisation_test,
    sanity_table,
    verdicts,
)
from pipeline.explain.saliency import (
    Target,
    choose_target,
    grad_cam,
    occlusion,
    rectified,
    to_image_size,
    used_slices,
)
from pipeline.settings.explain import ExplainSettings
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.parquet import read_frame
from pipeline.tables.status import stage_folder
from pipeline.training.batches import Batch, plain_batch
from pipeline.training.cards import device_of_its_own
from pipeline.training.dataset import CohortSource, CohortTensors, load_cohort
from pipeline.training.device import DeviceConfig, reproducible
from pipeline.training.pretrained import TrainedNetwork, load_trained_network

if TYPE_CHECKING:
    import pandas as pd
    import torch

log = logging.getLogger(__name__)
OCCLUSION = "occlusion"
NOTE = (
    "Maps are of the fold that held the patient out. A map that the sanity check calls insensitive shows the "
    "image, not what the network learned."
)


@dataclass(frozen=True)
class ExplainJob:
    """A network of a study whose folds are trained.

    Attributes:
        model: Name of the network.
        folds: Folders of its folds, in fold order.
        risks: Its table of `ensemble/`: patient_id, set, fold, and risk, labels or Dice.
        crops: Folder of the crop stores.
        outcomes: `cohort.parquet`, for clinical columns.
        settings: What is explained, and how.
        seed: Seed of the random weights.
        threads: Number of CPU threads.
    """

    model: str
    folds: tuple[Path, ...]
    risks: Path
    crops: Path
    outcomes: Path
    settings: ExplainSettings
    seed: int
    threads: int = 1


@dataclass(frozen=True)
class ExplainedPatient:
    """A patient who is explained by the fold whose training did not include them.

    Attributes:
        patient_id: The patient.
        end: `highest` or `lowest` of the predictions.
        fold: The fold in which the patient is a test patient.
        by: What patients are ordered by: `risk`, or for a network without survival the first
            label's column, or `dice`.
        value: The patient's value of it.
    """

    patient_id: str
    end: str
    fold: int
    by: str
    value: float


@dataclass
class Explanation:
    """Results over patients.

    Attributes:
        target: Name of what is explained.
        unreached: Names of levels that the target does not depend on.
        correlations: Results of the randomisation test, patient by patient.
        maps: Image and maps of each patient.
    """

    target: str = ""
    unreached: set[str] = field(default_factory=set)
    correlations: list[MapCorrelation] = field(default_factory=list)
    maps: dict[ExplainedPatient, PatientMaps] = field(default_factory=dict)


def explain_model(job: ExplainJob, out: Path) -> None:
    """Explain a network for the test patients of highest and lowest risk (or label, or Dice).

    Each patient is explained by the fold that held the patient out. Writes `{patient_id}.npz`
    (float32 maps (Z, Y, X) on the crop's grid without margin: Grad-CAM by level, rectified, and
    `occlusion`, signed), `sanity.csv`, `sanity.png`, `maps.png` and `explain.json`.

    Raises:
        TrainingError: The network lacks the target, or a patient cannot be loaded.
        CheckpointError: A fold's checkpoint cannot be read.
    """

    patients = choose_patients(read_frame(job.risks), job.settings.patients, job.settings.target)
    outcomes = read_outcomes(job.outcomes)
    explanation = Explanation()
    for fold in progress(sorted({p.fold for p in patients}), title=f"explain {job.model}"):
        members = [p for p in patients if p.fold == fold]
        rows = outcomes.loc[[p.patient_id for p in members]]
        _explain_fold(job, load_trained_network(job.folds[fold]), rows, members, explanation)
    with stage_folder("explain_model", out) as folder:
        _write(job, patients, explanation, folder)


def choose_patients(risks: pd.DataFrame, count: int, target: str = "auto") -> list[ExplainedPatient]:
    """The test patients of highest and of lowest risk, without repetition.

    With one fold, which has no test patients of its own, the external ones, by its first run.
    Of a label that is explained by its name: of its probability. For a network that does not predict
    survival: of its first label's probability, else of Dice.

    Args:
        risks: Table of the ensemble.
        count: Number of patients from each end.
        target: As `explain.target`.

    Raises:
        TrainingError: Fewer than two patients have a value.
    """
    labels = [str(c) for c in risks.columns if str(c).startswith("label_")]
    by = next(name for name in (target, "risk", *labels, "dice") if name in risks)
    in_folds = risks["set"] == "development"
    held_out = risks[in_folds] if in_folds.any() else risks.assign(fold=0)
    candidates = held_out[held_out[by].notna()].sort_values([by, "patient_id"], ascending=[False, True])
    columns = (
        candidates["patient_id"].astype(str),
        candidates["fold"].astype(int),
        candidates[by].astype(float),
    )
    rows = list(zip(*columns, strict=True))
    count = min(count, len(rows) // 2)
    if count == 0:
        raise TrainingError(f"there are too few test patients to explain by {by}", got=str(len(rows)))
    ends = [("highest", row) for row in rows[:count]] + [("lowest", row) for row in rows[-count:]]
    return [ExplainedPatient(patient, end, fold, by, value) for end, (patient, fold, value) in ends]


def _explain_fold(
    job: ExplainJob,
    trained: TrainedNetwork,
    outcomes: pd.DataFrame,
    patients: Sequence[ExplainedPatient],
    explanation: Explanation,
) -> None:
    """Explain the patients of one fold; results are added to the explanation."""
    import torch

    with (
        device_of_its_own(trained.training) as chosen,
        reproducible(chosen, job.threads, deterministic=False),
    ):
        # Kernels that are fast in bf16 or with channels last would blur what is compared here.
        device_config = replace(chosen, bf16=False, fp16=False, channels_last=False)
        cohort = _load(job, trained, outcomes, device_config)
        networks = _network_pair(job, trained, cohort)
        for row, patient in enumerate(patients):
            batch = plain_batch(cohort, [row])
            with torch.inference_mode():
                outputs = set(networks.trained(batch.image, batch.clinical, batch.targets["mask"]))
            target = choose_target(job.settings.target, outputs, trained.network.losses)
            explanation.target = target.name
            maps = _maps(networks.trained, batch, target, job.settings, explanation.unreached)
            title = f"{patient.end} {patient.by}"
            explanation.maps[patient] = PatientMaps(title, batch.image[0, 0].cpu().numpy(), maps)
            explanation.correlations += check_methods(job.settings, target, networks, batch)


def _load(
    job: ExplainJob, trained: TrainedNetwork, rows: pd.DataFrame, device_config: DeviceConfig
) -> CohortTensors:
    clinical = trained.encoder.transform(rows)
    source = CohortSource(job.crops, trained.training.standardise, trained.training.stored_as)
    return load_cohort(source, rows, clinical, device_config)


def _network_pair(job: ExplainJob, trained: TrainedNetwork, cohort: CohortTensors) -> NetworkPair:
    import torch

    from pipeline.nets.registry import build

    net = trained.net.to(cohort.device)
    torch.manual_seed(job.seed)
    untrained = build(trained.network, len(cohort.channels), len(trained.encoder.names()))
    return NetworkPair(net, untrained.eval().to(cohort.device))


def _maps(
    net: torch.nn.Module, batch: Batch, target: Target, settings: ExplainSettings, unreached: set[str]
) -> dict[str, NDArray[np.float32]]:
    """A patient's maps at the image's size; levels that the target does not depend on are left out."""
    z, y, x = batch.image.shape[2:]
    maps: dict[str, NDArray[np.float32]] = {}
    if "grad_cam" in settings.methods:
        slices = used_slices(net, batch, target)
        for level in grad_cam(net, batch, target):
            if not level.reached:
                unreached.add(level.name)
                continue
            full_size = rectified(to_image_size(level.map, (z, y, x), slices))
            maps[level.name] = full_size[0].float().cpu().numpy()
    if "occlusion" in settings.methods:
        falls = occlusion(net, batch, target, settings.occlusion_voxels, settings.occlusion_stride_voxels)
        maps[OCCLUSION] = falls[0].float().cpu().numpy()
    return maps


def check_methods(
    settings: ExplainSettings, target: Target, networks: NetworkPair, batch: Batch
) -> list[MapCorrelation]:
    """The randomisation test of every method asked for.

    Grad-CAM is tested step by step, in a cascade and group by group, on its signed maps at their own
    size. Occlusion, which needs a forward pass per cube, is compared with the network without
    anything learned.
    """

    def activation_maps(net: torch.nn.Module, patients: Batch) -> Maps:
        return {level.name: level.map for level in grad_cam(net, patients, target) if level.reached}

    def occlusion_map(net: torch.nn.Module, patients: Batch) -> Maps:
        side, stride = settings.occlusion_voxels, settings.occlusion_stride_voxels
        return {OCCLUSION: occlusion(net, patients, target, side, stride)}

    correlations: list[MapCorrelation] = []
    if "grad_cam" in settings.methods:
        correlations += randomisation_test(activation_maps, networks, batch, settings.sanity_steps)
    if "occlusion" in settings.methods:
        correlations += randomisation_test(occlusion_map, networks, batch, 1, ("cascade",))
    return correlations


def _write(
    job: ExplainJob, patients: Sequence[ExplainedPatient], explanation: Explanation, out: Path
) -> None:
    for patient, result in explanation.maps.items():
        np.savez_compressed(out / f"{patient.patient_id}.npz", **result.maps)  # type: ignore[arg-type]
    table = sanity_table(explanation.correlations)
    table.to_csv(out / "sanity.csv", index=False, lineterminator="\n")
    draw_sanity(table, job.settings.insensitive_above, out / "sanity.png")
    by_value = sorted(explanation.maps, key=lambda patient: -patient.value)
    draw_maps([explanation.maps[patient] for patient in by_value], out / "maps.png")
    sanity = verdicts(table, job.settings.insensitive_above)
    about = {
        "model": job.model,
        "target": explanation.target,
        "patients": [vars(patient) for patient in patients],
        "settings": job.settings.model_dump(mode="json"),
        "sanity": sanity,
        "not_reached": sorted(explanation.unreached),
        "note": NOTE,
    }
    (out / "explain.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for name in (name for name, verdict in sanity.items() if verdict == "insensitive"):
        log.warning("%s: the map %s hardly changes when the weights are random", job.model, name)
