"""Maps of what a trained network looks at, with the check that they mean something: the rule `explain`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.console import progress
from pipeline.errors import TrainingError
from pipeline.explain.figures import draw_maps, draw_sanity
from pipeline.explain.randomisation_test import MapCorrelation, Maps, Method, check, verdicts
from pipeline.explain.saliency import (
    MapLevel,
    Target,
    grad_cam,
    occlusion,
    on_image,
    rectified,
    seen_slices,
    target_of,
)
from pipeline.settings.explain import ExplainSettings
from pipeline.tables.outcomes import read_outcomes
from pipeline.training.batches import Batch, plain_batch
from pipeline.training.dataset import CohortTensors, load_cohort
from pipeline.training.device import DeviceConfig, choose_machine, reproducible
from pipeline.training.restore import Restored, restore

if TYPE_CHECKING:
    import pandas as pd
    import torch

log = logging.getLogger(__name__)
OCCLUSION = "occlusion"


@dataclass(frozen=True)
class ExplainJob:
    """One network of a finished study.

    Attributes:
        model: Its name.
        folds: Folders of its folds, in fold order.
        risks: Its table of `ensemble/`: patient_id, set, fold, and risk, labels or Dice.
        crops: Folder of the crop stores.
        outcomes: `cohort.parquet`, for clinical columns.
        settings: What is explained, and how.
        seed: Of the random weights.
        threads: CPU threads.
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
class Chosen:
    """A patient who is explained by the network that never saw him.

    Attributes:
        patient_id: Whom.
        end: `highest` or `lowest` of the predictions.
        fold: That held him out.
        by: What patients are ordered by: `risk`, or of a network without survival the first
            label's column, or `dice`.
        value: Of it.
    """

    patient_id: str
    end: str
    fold: int
    by: str
    value: float


@dataclass
class Found:
    """Of all patients so far: names of scales that nothing reaches, likenesses, and pictures."""

    unreached: set[str]
    likeness: list[MapCorrelation]
    pictures: list[tuple[Chosen, np.ndarray, dict[str, np.ndarray]]]
    target: str = ""


def explain_model(job: ExplainJob, out: Path) -> None:
    """Explain a network for the test patients of highest and lowest risk (or label, or Dice).

    Each patient is explained by the fold that held him out. Writes `{patient_id}.npz` (float32
    maps (Z, Y, X) on the crop's grid without margin: Grad-CAM by scale, rectified, and
    `occlusion`, signed), `sanity.csv`, `sanity.png`, `maps.png` and `explain.json`.

    Raises:
        TrainingError: The network lacks the target, or a patient cannot be loaded.
        CheckpointError: A fold's checkpoint cannot be read.
    """
    import pandas as pd

    chosen = choose_patients(pd.read_parquet(job.risks), job.settings.patients)
    outcomes = read_outcomes(job.outcomes)
    found = Found(set(), [], [])
    out.mkdir(parents=True, exist_ok=True)
    for fold in progress(sorted({one.fold for one in chosen}), title=f"explain {job.model}"):
        members = [one for one in chosen if one.fold == fold]
        _explain_fold(job, restore(job.folds[fold]), (members, outcomes), found, out)
    table = sanity_table(found.likeness)
    told = verdict_of(table, job.settings.insensitive_above)
    table.to_csv(out / "sanity.csv", index=False, lineterminator="\n")
    draw_sanity(table, job.settings.insensitive_above, out / "sanity.png")
    shown = sorted(found.pictures, key=lambda picture: -picture[0].value)
    draw_maps([(f"{c.end} {c.by}", i, m) for c, i, m in shown], out / "maps.png")
    about = {
        "model": job.model,
        "target": found.target,
        "patients": [vars(one) for one in chosen],
        "settings": job.settings.model_dump(mode="json"),
        "sanity": told,
        "not_reached": sorted(found.unreached),
        "note": "Maps are of the fold that held the patient out. A map that the sanity check calls "
        "insensitive shows the image, not what the network learned.",
    }
    (out / "explain.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    for name in (name for name, verdict in told.items() if verdict == "insensitive"):
        log.warning("%s: the map %s hardly changes when the weights are random", job.model, name)


def choose_patients(risks: pd.DataFrame, count: int) -> list[Chosen]:
    """The test patients of highest and of lowest risk, without repetition.

    Of a network that does not predict survival: of its first label's probability, else of Dice.

    Raises:
        TrainingError: Fewer than two patients have a value.
    """
    labels = [str(c) for c in risks.columns if str(c).startswith("label_")]
    by = next(name for name in ("risk", *labels, "dice") if name in risks)
    held = risks[(risks["set"] == "development") & risks[by].notna()]
    held = held.sort_values([by, "patient_id"], ascending=[False, True])
    columns = (held["patient_id"].astype(str), held["fold"].astype(int), held[by].astype(float))
    rows = list(zip(*columns, strict=True))
    count = min(count, len(rows) // 2)
    if count == 0:
        raise TrainingError(f"there are too few test patients to explain by {by}", got=str(len(rows)))
    ends = [("highest", row) for row in rows[:count]] + [("lowest", row) for row in rows[-count:]]
    return [Chosen(patient, end, fold, by, value) for end, (patient, fold, value) in ends]


def _explain_fold(
    job: ExplainJob,
    trained: Restored,
    patients: tuple[Sequence[Chosen], pd.DataFrame],
    found: Found,
    out: Path,
) -> None:
    import torch

    from pipeline.nets.registry import build

    members, outcomes = patients
    # Kernels that are quick in bf16 or with channels last blur what is compared here.
    machine = replace(choose_machine(trained.training), half=False, channels_last=False)
    with reproducible(machine, job.threads, deterministic=False):
        cohort = _load(job, trained, outcomes.loc[[one.patient_id for one in members]], machine)
        net = trained.net.to(machine.device)
        torch.manual_seed(job.seed)
        fresh = build(trained.network, len(cohort.channels), len(trained.encoder.names()))
        fresh = fresh.eval().to(machine.device)
        for row, one in enumerate(members):
            batch = plain_batch(cohort, [row])
            with torch.inference_mode():
                outputs = set(net(batch.image, batch.clinical, batch.targets["mask"]))
            found.target, target = target_of(job.settings.target, outputs, trained.network.losses)
            maps = _maps(net, batch, target, job.settings, found.unreached)
            np.savez_compressed(out / f"{one.patient_id}.npz", **maps)  # type: ignore[arg-type]
            found.pictures.append((one, batch.image[0, 0].cpu().numpy(), maps))
            found.likeness += check_all(job.settings, target, (net, fresh), batch)


def _load(job: ExplainJob, trained: Restored, rows: pd.DataFrame, machine: DeviceConfig) -> CohortTensors:
    clinical = trained.encoder.transform(rows)
    return load_cohort(job.crops, rows, clinical, trained.training.standardise, machine)


def _maps(
    net: torch.nn.Module, batch: Batch, target: Target, settings: ExplainSettings, unreached: set[str]
) -> dict[str, np.ndarray]:
    """One patient's maps at the image's size; scales that the target does not depend on are left out."""
    z, y, x = batch.image.shape[2:]
    maps: dict[str, np.ndarray] = {}
    if "grad_cam" in settings.methods:
        seen = seen_slices(net, batch, target)
        for scale in grad_cam(net, batch, target):
            if not scale.reached:
                unreached.add(scale.name)
                continue
            grown = rectified(on_image(scale.map, (z, y, x), seen))
            maps[scale.name] = grown[0].float().cpu().numpy()
    if "occlusion" in settings.methods:
        found = occlusion(net, batch, target, settings.occlusion_voxels, settings.occlusion_stride_voxels)
        maps[OCCLUSION] = found[0].float().cpu().numpy()
    return maps


def check_all(
    settings: ExplainSettings, target: Target, nets: tuple[torch.nn.Module, torch.nn.Module], batch: Batch
) -> list[MapCorrelation]:
    """The sanity check of every method asked for.

    Grad-CAM is checked step by step, in a cascade and group by group, on its signed maps at
    their own size. Occlusion, which needs a forward pass per cube, is compared with the network
    without anything learned.
    """

    def cams(net: torch.nn.Module, patients: Batch) -> Maps:
        scales: list[MapLevel] = grad_cam(net, patients, target)
        return {scale.name: scale.map for scale in scales if scale.reached}

    def covered(net: torch.nn.Module, patients: Batch) -> Maps:
        return {
            OCCLUSION: occlusion(
                net, patients, target, settings.occlusion_voxels, settings.occlusion_stride_voxels
            )
        }

    found: list[MapCorrelation] = []
    methods: list[tuple[str, Method]] = [("grad_cam", cams), ("occlusion", covered)]
    for name, method in methods:
        if name in settings.methods:
            thorough = name == "grad_cam"
            found += check(
                method,
                nets,
                batch,
                settings.sanity_steps if thorough else 1,
                ("cascade", "independent") if thorough else ("cascade",),
            )
    return found


def sanity_table(found: Sequence[MapCorrelation]) -> pd.DataFrame:
    """Rows order, step, map, rho, rho_absolute, patients, layers: means over patients."""
    import pandas as pd

    rows = pd.DataFrame(
        [{**vars(one), "layers": " ".join(one.layers), "patients": one.patients} for one in found]
    ).rename(columns={"name": "map"})
    keys = ["order", "step", "map"]
    groups = rows.groupby(keys, sort=False)
    table = groups[["rho", "rho_absolute"]].mean()
    table["patients"] = groups["patients"].sum()
    table["layers"] = groups["layers"].first()
    return table.reset_index()


def verdict_of(table: pd.DataFrame, limit: float) -> dict[str, Any]:
    """Map → what the check says of it, over all patients; each method's own last step counts."""
    told: dict[str, Any] = {}
    for is_occlusion in (False, True):
        part = table[(table["map"] == OCCLUSION) == is_occlusion]
        rows = [
            MapCorrelation(row.order, row.step, (), row.map, row.rho, row.rho_absolute, row.patients)
            for row in part.itertuples(index=False)
        ]
        told.update(verdicts(rows, limit))
    return told
