"""How good the network is on a set of patients, during training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.training.predict import DEEP_FEATURES, Predictor, dice_of, risk_of

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Tensors
    from pipeline.training.context import TrainContext


@dataclass(frozen=True)
class ValidationScores:
    """Scores of one set of patients.

    Attributes:
        loss: The training loss without its L2 term; its Cox term over the whole set. The L2 term
            only falls with the weights and would hide when the rest begins to rise.
        terms: Its terms by name.
        dice: Mean Dice at 0.5 over patients with a mask; NaN where there is none.
        c_index: Harrell's C of the set; NaN where no pair can be compared, or the network does not
            predict survival.
    """

    loss: float
    terms: dict[str, float]
    dice: float
    c_index: float


def monitored_sets(checkpoint_selection: str, rows: dict[str, list[int]]) -> dict[str, list[int]]:
    """Sets that are scored during training: validation patients, and test patients only where the
    study selects the checkpoint on them."""
    names = ("validation", "test") if checkpoint_selection == "best_test" else ("validation",)
    return {name: rows[name] for name in names if rows[name]}


def make_predictor(context: TrainContext) -> Predictor:
    """The network as it is, for prediction; not compiled, since shapes differ from those in training."""
    training = context.training
    return Predictor(context.net, context.device_config, context.losses, training.batch, training.tta_flip)


def score_patients(context: TrainContext, rows: Sequence[int]) -> ValidationScores:
    """Scores of patients in evaluation mode; the network is left in training mode.

    Args:
        context: The network and the cohort.
        rows: Row numbers of the patients.
    """
    import torch

    from pipeline.losses.combined import combined_loss

    context.net.eval()
    outputs: list[Tensors] = []
    targets: list[Tensors] = []
    for batch, predicted in make_predictor(context).predict(context.cohort, rows):
        outputs.append({name: value for name, value in predicted.items() if name != DEEP_FEATURES})
        targets.append(batch.targets)
    context.net.train()
    all_outputs, all_targets = _concatenate(outputs), _concatenate(targets)
    with torch.inference_mode():
        loss, terms = combined_loss(all_outputs, all_targets, context.losses)
        dice = dice_of(all_outputs, all_targets).cpu().numpy()
        risk = risk_of(all_outputs, context.losses)
    known = dice[np.isfinite(dice)]
    return ValidationScores(
        loss=float(loss),
        terms={name: float(value) for name, value in terms.items()},
        dice=float(known.mean()) if len(known) else float("nan"),
        c_index=float("nan") if risk is None else _concordance(risk, all_targets),
    )


def _concatenate(batches: Sequence[Tensors]) -> Tensors:
    import torch

    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _concordance(risk: torch.Tensor, targets: Tensors) -> float:
    from pipeline.metrics.concordance import concordance_index

    values, time, event = (v.double().cpu().numpy() for v in (risk, targets["time"], targets["event"]))
    return concordance_index(time, event, values) if np.isfinite(values).all() else float("nan")
