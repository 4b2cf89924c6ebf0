"""Outputs of a trained fold: predictions, masks, deep features, and the network itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TrainingError
from pipeline.metrics.segmentation import (
    LesionAgreement,
    SurfaceDistances,
    lesion_agreement,
    surface_distances,
)
from pipeline.tables.parquet import write_frame
from pipeline.tables.predictions import DISTANCES, LESIONS, PIXELS, survival_column, write_predictions
from pipeline.tables.whole import write_bytes
from pipeline.training.checkpoint import pack
from pipeline.training.detections import PatientBoxes
from pipeline.training.mask_classes import ClassOverlaps, predicted_labels
from pipeline.training.predict import DEEP_FEATURES, THRESHOLD, Predictor, dice_of, pixels_of, risk_of

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.metrics.baseline import Baseline
    from pipeline.settings.losses import LossSettings
    from pipeline.training.batches import Batch
    from pipeline.training.dataset import CohortTensors

MASKED_SETS = ("validation", "test", "external")
"""Sets whose masks and boxes are written; the network has learned those of training patients."""


@dataclass
class NetworkPredictions:
    """Outputs of a network for some patients, in one order.

    Attributes:
        ids: Patient ids.
        risk: (n) float64, higher = worse; empty of a network that does not predict survival.
        dice: (n) float64, NaN without a mask.
        distances: (n) surface distances of predicted and manual mask; None for patients whose mask
            is not kept or who have no manual mask.
        lesions: (n) lesions and volumes of both masks; None as above.
        pixels: (n) pixels of a slice's masks, see `pipeline.training.predict.pixels_of`; empty of volumes.
        masks: uint8 (Z, Y, X), 1 = tumour or the labels of classes, by patient id, of the patients whose mask is kept.
        features: (n) deep features (F) float32; empty where they are not kept.
        interval_logits: Batches (B, I) of a discrete-time network; else empty.
        labels: Batches (B, L) of label logits; empty for a network without labels.
        boxes: Boxes that a detecting network predicts, and those of the manual masks.
        overlaps: Voxel counts of each class of the masks; empty without classes.
    """

    ids: list[str] = field(default_factory=list)
    risk: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    distances: list[SurfaceDistances | None] = field(default_factory=list)
    lesions: list[LesionAgreement | None] = field(default_factory=list)
    pixels: list[tuple[float, ...]] = field(default_factory=list)
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    features: list[NDArray[np.float32]] = field(default_factory=list)
    interval_logits: list[torch.Tensor] = field(default_factory=list)
    labels: list[torch.Tensor] = field(default_factory=list)
    boxes: PatientBoxes = field(default_factory=PatientBoxes)
    overlaps: ClassOverlaps = field(default_factory=ClassOverlaps)


def predict_patients(
    predictor: Predictor, cohort: CohortTensors, rows: Sequence[int], *, masks_of: set[str], features: bool
) -> NetworkPredictions:
    """Run the network once over patients and keep what the outputs need.

    Args:
        predictor: The network.
        cohort: All patients.
        rows: Row numbers of the patients to predict.
        masks_of: Ids of the patients whose mask is kept.
        features: Whether deep features are kept.
    """
    predictions = NetworkPredictions(overlaps=ClassOverlaps(predictor.losses.mask_classes))
    for batch, outputs in predictor.predict(cohort, rows):
        predictions.ids.extend(batch.ids)
        risk = risk_of(outputs, predictor.losses)
        predictions.risk.extend([] if risk is None else risk.double().cpu().tolist())
        predictions.dice.extend(dice_of(outputs, batch.targets).double().cpu().tolist())
        predictions.pixels.extend(pixels_of(outputs, batch.targets))
        if "mask" in outputs:
            labels = predicted_labels(outputs).cpu().numpy()
            for patient_id, mask in zip(batch.ids, labels, strict=True):
                if patient_id in masks_of:
                    predictions.masks[patient_id] = mask
        predictions.overlaps.add(outputs, batch.targets)
        for pair in _mask_pairs(batch, predictions.masks):
            agreement = None if pair is None else lesion_agreement(*pair, cohort.spacing_mm)
            predictions.lesions.append(agreement)
            distances = None if pair is None else surface_distances(*pair, cohort.spacing_mm)
            predictions.distances.append(distances)
        if features and DEEP_FEATURES in outputs:
            predictions.features.extend(outputs[DEEP_FEATURES].cpu().numpy())
        if "interval_logits" in outputs:
            predictions.interval_logits.append(outputs["interval_logits"].cpu())
        if "labels" in outputs:
            predictions.labels.append(outputs["labels"].cpu())
        predictions.boxes.add(batch, outputs)
    return predictions


def _mask_pairs(
    batch: Batch, masks: dict[str, NDArray[np.uint8]]
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]] | None]:
    """Predicted and manual mask of each patient of a batch; None without a kept or without a manual mask.

    Training patients' masks are not kept, so that no time is spent on what is not read.
    """
    known = batch.targets["mask_known"].bool().tolist()
    pairs: list[tuple[NDArray[np.bool_], NDArray[np.bool_]] | None] = []
    for row, patient_id in enumerate(batch.ids):
        if patient_id not in masks or not known[row]:
            pairs.append(None)
            continue
        manual = (batch.targets["mask"][row] > THRESHOLD).cpu().numpy()
        pairs.append((masks[patient_id].astype(bool), manual))
    return pairs


def predictions_table(
    predictions: NetworkPredictions,
    sets: dict[str, str],
    survival: NDArray[np.float64] | None,
    horizons_days: Sequence[float],
    losses: LossSettings,
) -> pd.DataFrame:
    """`predictions.parquet`'s rows: patient_id, set, risk, survival_{days}d, dice, distances, lesions, labels.

    Args:
        predictions: Predictions of all patients.
        sets: Patient id → set.
        survival: (n, m) survival probabilities at the horizons; None for a network that does not
            predict survival, whose table has neither them nor a risk.
        horizons_days: (m) times of the survival probabilities.
        losses: Loss settings, with the names of the labels.
    """
    import pandas as pd

    columns: dict[str, Any] = {
        "patient_id": predictions.ids,
        "set": [sets[patient_id] for patient_id in predictions.ids],
    }
    if survival is not None:
        columns["risk"] = np.asarray(predictions.risk, dtype=np.float64)
        for column, days in enumerate(horizons_days):
            columns[survival_column(days)] = survival[:, column]
    columns["dice"] = np.asarray(predictions.dice, dtype=np.float64)
    hd95, assd = DISTANCES
    columns[hd95] = np.asarray(
        [np.nan if d is None else d.hd95 for d in predictions.distances], dtype=np.float64
    )
    columns[assd] = np.asarray(
        [np.nan if d is None else d.assd for d in predictions.distances], dtype=np.float64
    )
    lesions = [[np.nan] * len(LESIONS) if each is None else each.columns() for each in predictions.lesions]
    if lesions:
        columns.update(zip(LESIONS, np.asarray(lesions, dtype=np.float64).T, strict=True))
    columns.update(predictions.overlaps.columns())
    if predictions.pixels:
        columns.update(zip(PIXELS, np.asarray(predictions.pixels, dtype=np.float64).T, strict=True))
    columns.update(label_probabilities(predictions, losses))
    return pd.DataFrame(columns)


def label_probabilities(
    predictions: NetworkPredictions, losses: LossSettings
) -> dict[str, NDArray[np.float64]]:
    """Column `{label}` (yes/no) or `{label}_{class}` (several classes) of probabilities."""
    import torch

    names = losses.labels
    if not predictions.labels or not names:
        return {}
    logits = torch.cat(predictions.labels).double()
    if len(names) == 1 and logits.shape[1] > 1:
        probabilities = logits.softmax(1).numpy()
        return {f"{names[0]}_{k}": probabilities[:, k] for k in range(probabilities.shape[1])}
    return {name: logits.sigmoid().numpy()[:, k] for k, name in enumerate(names)}


def survival_probabilities(
    predictions: NetworkPredictions, baseline: Baseline, horizons_days: Sequence[float], losses: LossSettings
) -> NDArray[np.float64]:
    """Survival probabilities (n, m): those of a discrete-time network itself, else from Breslow's baseline."""
    if predictions.interval_logits:
        import torch

        from pipeline.losses.discrete_time import survival_at

        logits = torch.cat(predictions.interval_logits)
        curves = [survival_at(logits, days, losses.interval_edges_days) for days in horizons_days]
        return torch.stack(curves, dim=1).double().numpy()
    return baseline.survival(np.asarray(predictions.risk), np.asarray(horizons_days))


def write_masks(path: Path, masks: dict[str, NDArray[np.uint8]], classes: tuple[str, ...] = ()) -> None:
    """`masks.zarr`: an array (Z, Y, X) of 0 and 1 per patient, on the crop's grid without margin.

    With classes its values are labels 1, 2, … in the order of the attribute `classes`.
    """
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs["threshold"] = THRESHOLD
    if classes:
        group.attrs["classes"] = list(classes)
    for patient_id in sorted(masks):
        array = group.create_array(
            patient_id, shape=masks[patient_id].shape, chunks=masks[patient_id].shape, dtype="uint8"
        )
        array[:] = masks[patient_id]


def write_features(path: Path, predictions: NetworkPredictions) -> None:
    """`deep_features.parquet`: patient_id and deep_000 … of every patient, before dropout.

    Raises:
        TrainingError: The network has none.
    """
    import pandas as pd

    if not predictions.features:
        raise TrainingError(
            "deep features are asked for, and this network has none",
            where=str(path),
            action="take them from another network (e.g. deepmts), or leave them out",
        )
    values = np.stack(predictions.features)
    names = [f"deep_{i:03d}" for i in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=names)
    frame.insert(0, "patient_id", predictions.ids)
    write_frame(path, frame)


def write_network(path: Path, net: torch.nn.Module, about: dict[str, Any]) -> None:
    """`checkpoint.pt`: weights, and as JSON everything needed to build the network and predict."""
    weights = {k: v.detach().cpu().contiguous().clone() for k, v in net.state_dict().items()}
    write_bytes(path, pack({"net": weights, "about": json.dumps(about, sort_keys=True)}))


def write_fold(out: Path, table: pd.DataFrame, history: bytes, about: dict[str, Any]) -> None:
    """Write `predictions.parquet`, `history.csv` and `model.json`: numbers of patients, caveats, baseline."""
    write_bytes(out / "model.json", (json.dumps(about, indent=1) + "\n").encode())
    write_predictions(out / "predictions.parquet", table)
    write_bytes(out / "history.csv", history)
