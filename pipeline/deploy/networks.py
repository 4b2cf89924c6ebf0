"""The networks of all folds over one new patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.deploy.linear import survival
from pipeline.deploy.manifest import BundleError, Manifest, NetworkFold, inside
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.settings.losses import LossSettings
    from pipeline.training.detections import Box
    from pipeline.training.pretrained import TrainedNetwork


@dataclass(frozen=True)
class NetworkPatient:
    """What networks are given.

    Attributes:
        crop: The crop store, `{patient_id}.zarr`.
        clinical: One row with the clinical columns, indexed by patient_id.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads.
    """

    crop: Path
    clinical: pd.DataFrame
    device: str = "auto"
    threads: int = 1


@dataclass
class NetworkResult:
    """Of one network in one fold.

    Attributes:
        risk: Higher = worse; None of a network that does not predict survival.
        survival: At the manifest's horizons; NaN beyond follow-up; None without risk.
        probability: (Z, Y, X) tumour probability on the crop without margin; None without mask.
        labels: Probability by label column.
        boxes: (x1, y1, x2, y2, score, kind) of what it detects, the best first; None where it does not detect.
    """

    risk: float | None
    survival: list[float] | None
    probability: np.ndarray | None = None
    labels: dict[str, float] = field(default_factory=dict)
    boxes: list[Box] | None = None


def run_network(
    bundle: Path, manifest: Manifest, fold: NetworkFold, patient: NetworkPatient
) -> NetworkResult:
    """Build a network, load its weights, and predict the patient as the study predicted its own.

    Device aside, everything that moves digits is as in training: precision, memory order,
    averaging over the mirror image.

    Raises:
        BundleError: The crop does not have the channels and shape the network was trained on.
        CheckpointError: The weights do not fit the network.
    """
    from pipeline.training.dataset import load_cohort
    from pipeline.training.device import DeviceConfig, choose_device, reproducible
    from pipeline.training.predict import Predictor

    restored = _restore(bundle, fold)
    training = restored.training.model_copy(update={"device": patient.device})
    chosen = choose_device(training)
    device_config = DeviceConfig(chosen.device, fold.precision == "bf16", chosen.channels_last)
    rows = patient.clinical.assign(centre="")
    with reproducible(device_config, patient.threads, training.deterministic):
        encoded = restored.encoder.transform(patient.clinical)
        cohort = load_cohort(patient.crop.parent, rows, encoded, training.standardise, device_config)
        expected = (tuple(restored.about["channels"]), tuple(restored.about["shape"]))
        if (cohort.channels, cohort.shape) != expected:
            raise BundleError(
                "the crop is not what the network was trained on",
                expected=str(expected),
                got=str((cohort.channels, cohort.shape)),
            )
        net = device_config.to_device(restored.net).eval()
        predictor = Predictor(net, device_config, restored.network.losses, 1, training.tta_flip)
        (_, outputs) = next(iter(predictor.predict(cohort, [0])))
        return _result(outputs, restored, fold, manifest.horizons_days)


def _restore(bundle: Path, fold: NetworkFold) -> TrainedNetwork:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from pipeline.training.pretrained import rebuild_network

    path = inside(bundle, fold.weights)
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError("weights cannot be read", where=fold.weights, got=str(error)) from None
    return rebuild_network(fold.about, weights, fold.weights)


def _result(
    outputs: dict, restored: TrainedNetwork, fold: NetworkFold, horizons_days: tuple[float, ...]
) -> NetworkResult:
    from pipeline.training.detections import DETECTION, real_boxes
    from pipeline.training.outputs import NetworkPredictions, label_probabilities

    losses = restored.network.losses
    found = NetworkResult(*_risk_and_curve(outputs, losses, fold, horizons_days))
    if "mask" in outputs:
        found.probability = outputs["mask"][0].float().cpu().numpy()
    if DETECTION in outputs:
        found.boxes = real_boxes(outputs[DETECTION][0])
    if "labels" in outputs:
        predicted = NetworkPredictions(labels=[outputs["labels"].cpu()])
        found.labels = {name: float(v[0]) for name, v in label_probabilities(predicted, losses).items()}
    return found


def _risk_and_curve(
    outputs: dict, losses: LossSettings, fold: NetworkFold, horizons_days: tuple[float, ...]
) -> tuple[float | None, list[float] | None]:
    from pipeline.losses.discrete_time import survival_at
    from pipeline.training.predict import risk_of

    predicted = risk_of(outputs, losses)
    if predicted is None:
        return None, None
    risk = float(predicted.double().cpu()[0])
    if not np.isfinite(risk):
        raise PipelineError("a network gave a risk that is not finite", where=fold.weights)
    if "interval_logits" in outputs:
        logits = outputs["interval_logits"].cpu()
        return risk, [float(survival_at(logits, days, losses.interval_edges_days)) for days in horizons_days]
    if fold.hazard is None:
        raise BundleError("a network that predicts survival has no baseline hazard", where=fold.weights)
    return risk, survival(fold.hazard, risk, horizons_days)
