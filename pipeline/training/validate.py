"""How good the network is on a set of patients, during training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.training.predict import Predictor, dice_of, risk_of
from pipeline.training.step import UNLOSSY, TrainContext

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Tensors


@dataclass(frozen=True)
class ValidationScores:
    """Of one set of patients.

    Attributes:
        loss: The training loss without its L2 term, which only falls with the weights and would
            hide when the rest begins to rise; its Cox term over the whole set.
        parts: Its terms by name.
        dice: Mean Dice at 0.5 over patients with a mask; NaN where there is none.
        c_index: Harrell's C of the set; NaN where no pair can be compared, or the network ranks
            nobody.
    """

    loss: float
    parts: dict[str, float]
    dice: float
    c_index: float


def predictor_of(bench: TrainContext) -> Predictor:
    """The network as it is, for prediction (uncompiled: shapes differ from training's)."""
    training = bench.training
    return Predictor(bench.net, bench.machine, bench.losses, training.batch, training.tta_flip)


def validate(bench: TrainContext, rows: Sequence[int]) -> ValidationScores:
    """Scores of patients, in evaluation mode; the network is left in training mode."""
    import torch

    from pipeline.losses.combined import combined_loss

    bench.net.eval()
    outputs: list[Tensors] = []
    targets: list[Tensors] = []
    for batch, found in predictor_of(bench).over(bench.cohort, rows):
        outputs.append({k: v for k, v in found.items() if k != UNLOSSY})
        targets.append(batch.targets)
    bench.net.train()
    whole = {name: torch.cat([o[name] for o in outputs]) for name in outputs[0]}
    truth = {name: torch.cat([t[name] for t in targets]) for name in targets[0]}
    with torch.inference_mode():
        loss, parts = combined_loss(whole, truth, bench.losses)
        dice = dice_of(whole, truth).cpu().numpy()
        risk = risk_of(whole, bench.losses)
    known = dice[np.isfinite(dice)]
    return ValidationScores(
        float(loss),
        {name: float(value) for name, value in parts.items()},
        float(known.mean()) if len(known) else float("nan"),
        float("nan") if risk is None else _concordance(risk, truth),
    )


def _concordance(risk: torch.Tensor, truth: Tensors) -> float:
    from pipeline.metrics.concordance import concordance_index

    values, time, event = (v.double().cpu().numpy() for v in (risk, truth["time"], truth["event"]))
    return concordance_index(time, event, values) if np.isfinite(values).all() else float("nan")
