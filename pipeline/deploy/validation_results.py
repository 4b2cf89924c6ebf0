"""What a bundle said of many patients, written as the stages of a study write it, and evaluated.

The folder then reads like a study's without development patients, so that evaluation and report are the study's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.deploy.flags import Flag
from pipeline.deploy.manifest import Manifest
from pipeline.deploy.predict import Prediction, predicted_labels
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.nets.registry import network_settings
from pipeline.planning.duplicate_images import find_duplicate_images
from pipeline.planning.exclusions import gather_statuses, write_problems
from pipeline.report.slices import without_margin
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.store.crops import read_crop
from pipeline.tables.cohort import Patient
from pipeline.tables.outcomes import outcome_table
from pipeline.tables.parquet import write_frame
from pipeline.tables.predictions import survival_column
from pipeline.tables.splits import Splits, write_splits
from pipeline.tables.status import PatientStatus, Status
from pipeline.tables.whole import write_text

if TYPE_CHECKING:
    import pandas as pd

FOLDERS = ("index", "convert", "suv", "contours", "registration")
"""Folders of a patient's stages, in their order; after them comes the crop."""
BUNDLE_STAGE = "bundle"
"""Stage under which the page lists what the bundle itself warns of."""
TOLD_BY_STAGES = ("SUV", "stages")
"""What flags are about that the stages' own files say, too."""


@dataclass(frozen=True)
class PredictedPatient:
    """What is kept of a prediction.

    Attributes:
        risk: Risk by the bundle, Z.
        spread: SD over folds.
        percentile: Place among the development patients.
        group: Risk group, 1 the lowest.
        survival: Probability by horizon in days.
        members: Risk by member.
        member_survival: Probabilities at the horizons by member.
        dice: Agreement of predicted and given mask in the crop; NaN without one of them.
        warnings: What the bundle warns of.
    """

    risk: float
    spread: float
    percentile: float
    group: int
    survival: Mapping[float, float]
    members: Mapping[str, float]
    member_survival: Mapping[str, Sequence[float]]
    dice: float
    warnings: tuple[Flag, ...]


def predicted_patient(manifest: Manifest, prediction: Prediction) -> PredictedPatient:
    """What evaluation needs of a prediction, whose images need not stay in memory."""
    estimate = prediction.estimate
    assert estimate is not None  # a bundle without survival is refused before any patient
    return PredictedPatient(
        estimate.risk,
        estimate.spread,
        estimate.percentile,
        estimate.group,
        dict(estimate.survival),
        dict(prediction.members),
        dict(prediction.member_survival),
        _dice(manifest, prediction),
        tuple(flag for flag in prediction.flags if flag.level == "warning"),
    )


def _dice(manifest: Manifest, prediction: Prediction) -> float:
    if prediction.probability is None or prediction.folders.contours is None:
        return float("nan")
    crop = read_crop(prediction.folders.crop)
    inner = without_margin(crop.image.shape[1:], crop.attributes.margin)
    if crop.mask is None or not crop.mask[inner].any():
        return float("nan")
    given, found = crop.mask[inner] > 0, prediction.probability >= manifest.threshold
    return float(2 * (given & found).sum() / (given.sum() + found.sum()))


def write_predicted_mask(manifest: Manifest, prediction: Prediction, work: Path) -> None:
    """Keep a patient's mask (uint8, on the crop without margin) where the pages look for a network's: of the first
    that segments, in its only fold, since a bundle's mask is one of all its networks and folds."""
    import zarr

    if prediction.probability is None:
        return
    networks = {
        name: network_settings(member.folds[0].description.network)
        for name, member in manifest.networks().items()
    }
    segmenting = next(name for name, network in networks.items() if "mask" in network.gives())
    store = work / "models" / segmenting / "fold0" / "masks.zarr"
    labels = predicted_labels(prediction.probability, prediction.class_probability, manifest.threshold)
    path = store / prediction.patient_id
    array = zarr.create_array(store=str(path), shape=labels.shape, chunks=labels.shape, dtype="uint8")
    array[:] = labels


def refused_at(work: Path, patient_id: str) -> str:
    """The stage that refused a patient: the first that left nothing."""
    for stage in FOLDERS:
        if not (work / stage / patient_id).is_dir():
            return "register" if stage == "registration" else stage
    return "crop" if not (work / "crops" / f"{patient_id}.zarr").is_dir() else BUNDLE_STAGE


def write_statuses(
    work: Path, excluded: Iterable[PatientStatus], predicted: Mapping[str, PredictedPatient]
) -> dict[str, str]:
    """Write `problems.csv`: who was left out and why, and who was predicted with a warning.

    Two patients with the same images are left out, both: it is not known whose they are.

    Returns:
        Patient → the first reason, of all who were left out.
    """
    stages = {patient_id: _left_by_stages(work, patient_id) for patient_id in predicted}
    problems = [*excluded, *gather_statuses(stages), *find_duplicate_images(stages, "exclude")]
    for patient_id, patient in predicted.items():
        for flag in patient.warnings:
            if flag.about not in TOLD_BY_STAGES:
                text = f"{flag.about}: {flag.text}"
                status = Status("warned", BUNDLE_STAGE, text, "predicted all the same")
                problems.append(PatientStatus(patient_id, status))
    write_problems(work / "problems.csv", problems)
    left_out = [problem for problem in problems if problem.status.state == "excluded"]
    return {problem.patient_id: problem.status.problem for problem in reversed(left_out)}


def _left_by_stages(work: Path, patient_id: str) -> list[Path]:
    folders = [work / stage / patient_id for stage in FOLDERS]
    return [*(path for path in folders if path.is_dir()), work / "crops" / f"{patient_id}.zarr"]


@dataclass(frozen=True)
class JudgedPatient:
    """A patient who was predicted and is judged: the row of the cohort table, and what the bundle said."""

    row: Patient
    said: PredictedPatient


def write_and_evaluate(
    manifest: Manifest,
    patients: Sequence[JudgedPatient],
    settings: EvaluationSettings,
    seed: int,
    work: Path,
) -> None:
    """Write outcomes, sets and predictions as a study has them, and evaluate them: `metrics/`.

    Args:
        manifest: The bundle's manifest.
        patients: Patients and what the bundle said of them, sorted by id.
        settings: How they are judged.
        seed: Seed of the bootstraps.
        work: The validation's folder.
    """
    ids = tuple(patient.row.patient_id for patient in patients)
    rows = [patient.said for patient in patients]
    write_frame(work / "cohort.parquet", outcome_table([patient.row for patient in patients]), index=True)
    write_splits(work / "splits.json", Splits((), ids, seed))
    members = manifest.survival_members()
    # A model without cuts has no risk groups: only the whole bundle's were packed.
    groups = len(manifest.risk_cuts) + 1
    cuts = {f"{i / groups:.6g}": cut for i, cut in enumerate(manifest.risk_cuts, start=1)}
    of_bundle = {"members": dict.fromkeys(members, ()), "folds": [{"fold": 0, "train_quantiles": cuts}]}
    tables = {name: _table(manifest, ids, rows, name) for name in (*members, manifest.model)}
    for name, table in tables.items():
        about = of_bundle if name == manifest.model else {"members": {name: ()}, "folds": []}
        write_frame(work / "ensemble" / f"{name}.parquet", table)
        write_text(work / "ensemble" / f"{name}.json", json.dumps({**about, "warnings": [], "caveats": []}))
    paths = {name: work / "ensemble" / f"{name}.parquet" for name in tables}
    sources = Sources(work / "cohort.parquet", work / "splits.json")
    evaluate(paths, sources, settings, seed, work / "metrics")


def _table(
    manifest: Manifest, ids: Sequence[str], rows: Sequence[PredictedPatient], model: str
) -> pd.DataFrame:
    """A model's predictions as the stage `ensemble` writes those of external patients."""
    import pandas as pd

    whole = model == manifest.model
    columns: dict[str, Any] = {"patient_id": list(ids), "set": "external", "fold": -1}
    columns["risk"] = [row.risk if whole else row.members[model] for row in rows]
    if whole:
        columns["spread"] = [row.spread for row in rows]
    for place, days in enumerate(manifest.horizons_days):
        values = [row.survival[days] if whole else row.member_survival[model][place] for row in rows]
        columns[survival_column(days)] = np.array(values, dtype=float)
    dice = np.array([row.dice for row in rows], dtype=float)
    if whole and np.isfinite(dice).any():
        columns["dice"] = dice
    return pd.DataFrame(columns)


def prediction_rows(manifest: Manifest, patients: Sequence[JudgedPatient]) -> pd.DataFrame:
    """`predictions.csv`: a row per patient with outcome, risk, percentile, group, survival and warnings."""
    import pandas as pd

    rows = []
    for patient in patients:
        said = patient.said
        row: dict[str, Any] = {"patient_id": patient.row.patient_id, "risk": said.risk, "spread": said.spread}
        row |= {"percentile": said.percentile, "risk_group": said.group}
        row |= {survival_column(days): said.survival[days] for days in manifest.horizons_days}
        row |= {"time_days": patient.row.time_days, "event": patient.row.event}
        row["warnings"] = "; ".join(f"{flag.about}: {flag.text}" for flag in said.warnings)
        rows.append(row)
    return pd.DataFrame(rows)
