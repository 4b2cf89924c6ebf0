"""The networks of all folds over one new patient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.linear import survival
from pipeline.deploy.manifest import BundleError
from pipeline.deploy.manifest_members import NetworkFold
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.settings.losses import LossSettings
    from pipeline.training.detections import Box
    from pipeline.training.pretrained import TrainedNetwork


@dataclass(frozen=True)
class ComputeOptions:
    """Where networks run.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: Number of CPU threads.
    """

    device: str = "auto"
    threads: int = 1


@dataclass(frozen=True)
class NetworkInputs:
    """What networks are given of a patient.

    Attributes:
        crop: The crop store, `{patient_id}.zarr`.
        clinical: One row with the clinical columns, indexed by patient_id.
        times_days: Times at which survival is wanted.
    """

    crop: Path
    clinical: pd.DataFrame
    times_days: tuple[float, ...]


@dataclass
class NetworkResult:
    """Predictions of one network in one fold.

    Attributes:
        risk: Higher = worse; None of a network that does not predict survival.
        survival: Probability at the times that are wanted; NaN beyond follow-up; None without risk.
        probability: (Z, Y, X) tumour probability on the crop without margin; None without mask.
        class_probability: (K, Z, Y, X) the same of each class of the mask; None where it tells none apart.
        labels: Probability by label column.
        boxes: (x1, y1, x2, y2, score, kind) of its detections, the best first; None where it does not detect.
    """

    risk: float | None
    survival: list[float] | None
    probability: np.ndarray | None = None
    class_probability: np.ndarray | None = None
    labels: dict[str, float] = field(default_factory=dict)
    boxes: list[Box] | None = None


def run_network(
    bundle: Bundle, fold: NetworkFold, inputs: NetworkInputs, compute: ComputeOptions
) -> NetworkResult:
    """Build a network, load its weights, and predict the patient as the study predicted its own.

    Except for the device, everything that affects the numbers is as in training: precision,
    memory order, averaging over the mirror image.

    Args:
        bundle: The bundle.
        fold: The network of one fold.
        inputs: The patient's crop and clinical columns.
        compute: Device and threads.

    Raises:
        BundleError: The crop does not have the channels and shape the network was trained on.
        CheckpointError: The weights do not fit the network.
    """
    from pipeline.training.dataset import CohortSource, load_cohort
    from pipeline.training.device import choose_device, reproducible
    from pipeline.training.predict import Predictor

    restored = _restore(bundle, fold)
    training = restored.training.model_copy(update={"device": compute.device})
    chosen = choose_device(training)
    device_config = replace(chosen, bf16=fold.precision == "bf16", fp16=fold.precision == "fp16")
    rows = inputs.clinical.assign(centre="")
    with reproducible(device_config, compute.threads, training.deterministic):
        encoded = restored.encoder.transform(inputs.clinical)
        source = CohortSource(inputs.crop.parent, training.standardise, training.stored_as)
        cohort = load_cohort(source, rows, encoded, device_config)
        expected = (fold.description.channels, fold.description.shape)
        if (cohort.channels, cohort.shape) != expected:
            raise BundleError(
                "the crop is not what the network was trained on",
                expected=str(expected),
                got=str((cohort.channels, cohort.shape)),
            )
        net = device_config.to_device(restored.net).eval()
        predictor = Predictor(net, device_config, restored.network.losses, 1, training.tta_flip)
        (_, outputs) = next(iter(predictor.predict(cohort, [0])))
        return _result(outputs, restored, fold, inputs.times_days)


def _restore(bundle: Bundle, fold: NetworkFold) -> TrainedNetwork:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from pipeline.training.pretrained import rebuild_network

    path = bundle.path(fold.weights)
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError("weights cannot be read", where=fold.weights, got=str(error)) from None
    return rebuild_network(fold.description.model_dump(mode="json"), weights, fold.weights)


def _result(
    outputs: dict, restored: TrainedNetwork, fold: NetworkFold, times_days: tuple[float, ...]
) -> NetworkResult:
    from pipeline.training.detections import DETECTION, real_boxes
    from pipeline.training.outputs import NetworkPredictions, label_probabilities

    losses = restored.network.losses
    risk = _risk(outputs, losses, fold)
    result = NetworkResult(risk, None if risk is None else _survival(risk, outputs, losses, fold, times_days))
    if "mask" in outputs:
        result.probability = outputs["mask"][0].float().cpu().numpy()
    if "class_masks" in outputs:
        result.class_probability = outputs["class_masks"][0].float().cpu().numpy()
    if DETECTION in outputs:
        result.boxes = real_boxes(outputs[DETECTION][0])
    if "labels" in outputs:
        predicted = NetworkPredictions(labels=[outputs["labels"].cpu()])
        result.labels = {name: float(v[0]) for name, v in label_probabilities(predicted, losses).items()}
    return result


def _risk(outputs: dict, losses: LossSettings, fold: NetworkFold) -> float | None:
    """Risk of the one patient; None of a network that does not predict survival."""
    from pipeline.training.predict import risk_of

    risks = risk_of(outputs, losses)
    if risks is None:
        return None
    risk = float(risks.double().cpu()[0])
    if not np.isfinite(risk):
        raise PipelineError("a network gave a risk that is not finite", where=fold.weights)
    return risk


def _survival(
    risk: float, outputs: dict, losses: LossSettings, fold: NetworkFold, times_days: tuple[float, ...]
) -> list[float]:
    """Survival of the one patient at the times that are wanted."""
    from pipeline.losses.discrete_time import survival_at

    if "interval_logits" in outputs:
        logits = outputs["interval_logits"].cpu()
        return [float(survival_at(logits, days, losses.interval_edges_days)) for days in times_days]
    if fold.hazard is None:
        raise BundleError("a network that predicts survival has no baseline hazard", where=fold.weights)
    return survival(fold.hazard, risk, times_days)
