"""How good the network is on a set of patients, during training.

Images, masks and what the network makes of them are dropped after each batch: of a patient a few
numbers are kept, whatever the size of the crop, so that a set may have any number of patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.settings.losses import TERMS, LossSettings, terms_needing
from pipeline.training.interruptions import explained_out_of_memory
from pipeline.training.predict import Predictor, dice_of, risk_of

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors
    from pipeline.training.context import TrainContext

VOXELS_AT_ONCE = 1 << 21
"""Voxels (of one channel) that are predicted at once: one patient of 128³, or a whole batch of small crops."""
FOR_A_PREDICTION = (
    "set training.precision: bf16, make the crop smaller, or take a network of fewer filters (width); patients are "
    "predicted {patients} at a time, so that neither training.batch nor their number matters"
)
"""What helps where memory does not suffice for a prediction."""


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
    at_once = patients_at_once(context.cohort.shape, context.training.batch)
    return Predictor(context.net, context.device_config, context.losses, at_once, context.training.tta_flip)


def patients_at_once(shape: tuple[int, int, int], batch: int) -> int:
    """How many patients are predicted at once: a batch of small crops, one large crop.

    Args:
        shape: What the network is given, voxels (z, y, x).
        batch: Number of patients of a training batch.
    """
    return max(1, min(batch, VOXELS_AT_ONCE // math.prod(shape)))


@dataclass
class PatientNumbers:
    """What is kept of the patients that have been predicted.

    Attributes:
        losses: Loss settings.
        terms: By the name of each loss term that is a mean over patients, its value (B) of each batch.
        outputs: Outputs of each batch that the other terms and the risk need.
        targets: Targets of each batch that are one number a patient.
        dice: Dice (B) of each batch, NaN where a patient has none.
    """

    losses: LossSettings
    terms: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    outputs: list[Tensors] = field(default_factory=list)
    targets: list[Tensors] = field(default_factory=list)
    dice: list[torch.Tensor] = field(default_factory=list)

    def add(self, batch: Batch, outputs: Tensors) -> None:
        """Add a batch; of its images nothing is kept."""
        import torch

        from pipeline.losses.combined import OF_ONE_PATIENT, loss_terms

        found: dict[str, list[torch.Tensor]] = {}
        for row in range(len(batch.ids)):
            one = {name: value[row : row + 1] for name, value in outputs.items()}
            patient = batch.part(row, row + 1)
            for name, value in loss_terms(one, patient.targets, self.losses, OF_ONE_PATIENT).items():
                found.setdefault(name, []).append(value)
        for name, values in found.items():
            self.terms.setdefault(name, []).append(torch.stack(values))
        needed = {key for name in TERMS if name not in OF_ONE_PATIENT for key in terms_needing(name)}
        needed.add("log_variances")
        self.outputs.append({name: value for name, value in outputs.items() if name in needed})
        self.targets.append({name: value for name, value in batch.targets.items() if value.dim() == 1})
        self.dice.append(dice_of(outputs, batch.targets))

    def scores(self) -> ValidationScores:
        """Scores of all patients that were added."""
        import torch

        from pipeline.losses.combined import OF_ONE_PATIENT, loss_terms, weigh

        outputs, targets = _concatenate(self.outputs), _concatenate(self.targets)
        coupled = [name for name in TERMS if name not in OF_ONE_PATIENT]
        values = {name: self._mean(name, targets["mask_known"]) for name in self.terms}
        values |= loss_terms(outputs, targets, self.losses, coupled)
        values = {name: values[name] for name in TERMS if name in values}
        dice, risk = torch.cat(self.dice).cpu().numpy(), risk_of(outputs, self.losses)
        known = dice[np.isfinite(dice)]
        return ValidationScores(
            loss=float(weigh(values, outputs, self.losses)),
            terms={name: float(value) for name, value in values.items()},
            dice=float(known.mean()) if len(known) else float("nan"),
            c_index=float("nan") if risk is None else _concordance(risk, targets),
        )

    def _mean(self, name: str, mask_known: torch.Tensor) -> torch.Tensor:
        """Mean of a term over patients; of one that compares masks over those with a contour, others being 0."""
        import torch

        from pipeline.losses.combined import OF_THE_MASK

        values = torch.cat(self.terms[name])
        return values.sum() / mask_known.sum().clamp(min=1) if name in OF_THE_MASK else values.mean()


def score_patients(context: TrainContext, rows: Sequence[int]) -> ValidationScores:
    """Scores of patients in evaluation mode; the network is left in training mode.

    Args:
        context: The network and the cohort.
        rows: Row numbers of the patients.

    Raises:
        TrainingError: Memory does not suffice.
    """
    import torch

    predictor, numbers = make_predictor(context), PatientNumbers(context.losses)
    context.net.eval()
    with (
        explained_out_of_memory(
            lambda: f"scoring {len(rows)} patients", FOR_A_PREDICTION.format(patients=predictor.batch)
        ),
        torch.inference_mode(),
    ):
        for batch, outputs in predictor.predict(context.cohort, rows):
            numbers.add(batch, outputs)
        scores = numbers.scores()
    context.net.train()
    return scores


def _concatenate(batches: Sequence[Tensors]) -> Tensors:
    import torch

    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _concordance(risk: torch.Tensor, targets: Tensors) -> float:
    from pipeline.metrics.concordance import concordance_index

    values, time, event = (v.double().cpu().numpy() for v in (risk, targets["time"], targets["event"]))
    return concordance_index(time, event, values) if np.isfinite(values).all() else float("nan")
