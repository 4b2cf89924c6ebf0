"""What a trained fold leaves: predictions, masks, deep features, and the network itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TrainingError
from pipeline.tables.predictions import DISTANCES, survival_column, write_predictions
from pipeline.training.checkpoint import pack, write_atomically
from pipeline.training.detections import PatientBoxes
from pipeline.training.predict import THRESHOLD, Predictor, dice_of, risk_of
from pipeline.training.step import UNLOSSY

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.metrics.baseline import Baseline
    from pipeline.settings.losses import LossSettings
    from pipeline.training.batches import Batch
    from pipeline.training.dataset import CohortTensors

MASKED_SETS = ("validation", "test", "external")
"""Sets whose masks are kept: a training patient's mask was shown to the network."""


@dataclass
class Predicted:
    """Of some patients, in one order.

    Attributes:
        ids: Patient ids.
        risk: (n) float64, higher = worse; empty of a network that does not predict survival.
        dice: (n) float64, NaN without a mask.
        distances: (n, 2) HD95 and ASSD in mm of the patients whose masks are kept, else NaN.
        masks: uint8 (Z, Y, X) by patient id, of the patients asked for.
        features: (n, F) float32 deep features, or None.
        logits: (n, I) of a discrete-time network, or None.
        labels: (n, L) label logits, or None.
        boxes: What a detecting network finds, and what there is to find.
    """

    ids: list[str] = field(default_factory=list)
    risk: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    distances: list[tuple[float, float]] = field(default_factory=list)
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    features: list[NDArray[np.float32]] = field(default_factory=list)
    logits: list[torch.Tensor] = field(default_factory=list)
    labels: list[torch.Tensor] = field(default_factory=list)
    boxes: PatientBoxes = field(default_factory=PatientBoxes)


def predict_patients(
    predictor: Predictor, cohort: CohortTensors, rows: Sequence[int], *, masks_of: set[str], features: bool
) -> Predicted:
    """Run the network once over patients and keep what the outputs need.

    Args:
        predictor: The network.
        cohort: All patients.
        rows: Who.
        masks_of: Patient ids whose mask is kept.
        features: Keep deep features.
    """
    found = Predicted()
    for batch, outputs in predictor.over(cohort, rows):
        found.ids.extend(batch.ids)
        risk = risk_of(outputs, predictor.losses)
        found.risk.extend([] if risk is None else risk.double().cpu().tolist())
        found.dice.extend(dice_of(outputs, batch.targets).double().cpu().tolist())
        if "mask" in outputs:
            binary = (outputs["mask"] > THRESHOLD).byte().cpu().numpy()
            for patient_id, mask in zip(batch.ids, binary, strict=True):
                if patient_id in masks_of:
                    found.masks[patient_id] = mask
        found.distances.extend(_distances(batch, found.masks, cohort.spacing_mm))
        if features and UNLOSSY in outputs:
            found.features.extend(outputs[UNLOSSY].cpu().numpy())
        if "interval_logits" in outputs:
            found.logits.append(outputs["interval_logits"].cpu())
        if "labels" in outputs:
            found.labels.append(outputs["labels"].cpu())
        found.boxes.add(batch, outputs)
    return found


def _distances(
    batch: Batch, masks: dict[str, NDArray[np.uint8]], spacing_mm: tuple[float, ...]
) -> list[tuple[float, float]]:
    """(HD95, ASSD) in mm of each patient of a batch; NaN without a kept or without a manual mask.

    Training patients' masks are not kept, so no time goes into distances nobody reads.
    """
    from pipeline.metrics.segmentation import surface_distances

    known = batch.targets["mask_known"].bool().tolist()
    found = []
    for row, patient_id in enumerate(batch.ids):
        if patient_id not in masks or not known[row]:
            found.append((np.nan, np.nan))
            continue
        truth = (batch.targets["mask"][row] > THRESHOLD).cpu().numpy()
        both = surface_distances(masks[patient_id].astype(bool), truth, spacing_mm)
        found.append((both.hd95, both.assd))
    return found


def predictions_table(
    predicted: Predicted,
    sets: dict[str, str],
    survival: NDArray[np.float64] | None,
    horizons_days: Sequence[float],
    losses: LossSettings,
) -> pd.DataFrame:
    """`predictions.parquet`'s rows: patient_id, set, risk, survival_{days}d, dice, distances, labels.

    Args:
        predicted: Of all patients.
        sets: Patient id → set.
        survival: (n, m) survival probabilities at the horizons; None of a network that does not
            predict survival, whose table has neither them nor a risk.
        horizons_days: (m).
        losses: Names the labels.
    """
    import pandas as pd

    columns: dict[str, Any] = {
        "patient_id": predicted.ids,
        "set": [sets[patient_id] for patient_id in predicted.ids],
    }
    if survival is not None:
        columns["risk"] = np.asarray(predicted.risk, dtype=np.float64)
        for column, days in enumerate(horizons_days):
            columns[survival_column(days)] = survival[:, column]
    columns["dice"] = np.asarray(predicted.dice, dtype=np.float64)
    for column, name in enumerate(DISTANCES):
        columns[name] = np.asarray([both[column] for both in predicted.distances], dtype=np.float64)
    columns.update(label_probabilities(predicted, losses))
    return pd.DataFrame(columns)


def label_probabilities(predicted: Predicted, losses: LossSettings) -> dict[str, NDArray[np.float64]]:
    """Column `{label}` (yes/no) or `{label}_{class}` (several classes) of probabilities."""
    import torch

    names = tuple(getattr(losses, "labels", ()))
    if not predicted.labels or not names:
        return {}
    logits = torch.cat(predicted.labels).double()
    if len(names) == 1 and logits.shape[1] > 1:
        chances = logits.softmax(1).numpy()
        return {f"{names[0]}_{k}": chances[:, k] for k in range(chances.shape[1])}
    return {name: logits.sigmoid().numpy()[:, k] for k, name in enumerate(names)}


def survival_of(
    predicted: Predicted, baseline: Baseline, horizons_days: Sequence[float], losses: LossSettings
) -> NDArray[np.float64]:
    """Survival probabilities (n, m): of a discrete-time network its own, else Breslow's."""
    if predicted.logits:
        import torch

        from pipeline.losses.discrete_time import survival_at

        logits = torch.cat(predicted.logits)
        curves = [survival_at(logits, days, losses.interval_edges_days) for days in horizons_days]
        return torch.stack(curves, dim=1).double().numpy()
    return baseline.survival(np.asarray(predicted.risk), np.asarray(horizons_days))


def write_masks(path: Path, masks: dict[str, NDArray[np.uint8]]) -> None:
    """`masks.zarr`: an array (Z, Y, X) of 0 and 1 per patient, on the crop's grid without margin."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs["threshold"] = THRESHOLD
    for patient_id in sorted(masks):
        array = group.create_array(
            patient_id, shape=masks[patient_id].shape, chunks=masks[patient_id].shape, dtype="uint8"
        )
        array[:] = masks[patient_id]


def write_features(path: Path, predicted: Predicted) -> None:
    """`deep_features.parquet`: patient_id and deep_000 … of every patient, before dropout.

    Raises:
        TrainingError: The network has none.
    """
    import pandas as pd

    if not predicted.features:
        raise TrainingError(
            "deep features are asked for, and this network has none",
            where=str(path),
            action="take them from another network (e.g. deepmts), or leave them out",
        )
    values = np.stack(predicted.features)
    names = [f"deep_{i:03d}" for i in range(values.shape[1])]
    frame = pd.DataFrame(values, columns=names)
    frame.insert(0, "patient_id", predicted.ids)
    frame.to_parquet(path, index=False)


def write_network(path: Path, net: torch.nn.Module, about: dict[str, Any]) -> None:
    """`checkpoint.pt`: weights, and as JSON everything needed to build the net and predict."""
    weights = {k: v.detach().cpu().contiguous().clone() for k, v in net.state_dict().items()}
    write_atomically(path, pack({"net": weights, "about": json.dumps(about, sort_keys=True)}))


def write_fold(out: Path, table: pd.DataFrame, history: bytes, caveats: Sequence[str]) -> None:
    """Write `predictions.parquet`, `history.csv` and, in `model.json`, caveats that tables print."""
    write_atomically(out / "model.json", (json.dumps({"caveats": list(caveats)}) + "\n").encode())
    write_predictions(out / "predictions.parquet", table)
    write_atomically(out / "history.csv", history)
