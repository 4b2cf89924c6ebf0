"""Prediction of many patients in one pass; risk and Dice by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from pipeline.settings.networks.deepmts import MtHs
from pipeline.training.context import FoldJob
from pipeline.training.predict import Predictor, dice_of, risk_of
from tests.training.synthetic_study import context_of

Job = Callable[..., FoldJob]


def test_flipped_prediction_is_the_mean_of_both(job: Job) -> None:
    context = context_of(job(precision="fp32"))
    context.net.eval()
    rows = [0, 1, 2]
    plain = Predictor(context.net, context.device_config, context.losses, 4)
    both = replace(plain, flip=True)
    (batch, plain_outputs), (_, mean) = (
        next(iter(plain.predict(context.cohort, rows))),
        next(iter(both.predict(context.cohort, rows))),
    )
    with torch.no_grad():
        mirrored = context.net(batch.image.flip(-1), batch.clinical, None)
    assert torch.allclose(
        mean["log_hazard"], (plain_outputs["log_hazard"] + mirrored["log_hazard"]) / 2, atol=1e-5
    )
    assert torch.allclose(mean["mask"], (plain_outputs["mask"] + mirrored["mask"].flip(-1)) / 2, atol=1e-5)


def test_a_cohort_is_predicted_in_one_pass(job: Job) -> None:
    """Everybody once, in the order asked for, `batch` at a time and no more forward passes than that."""
    context = context_of(job())
    context.net.eval()
    sizes: list[int] = []

    def counted(image: torch.Tensor, *rest: torch.Tensor | None) -> dict[str, torch.Tensor]:
        sizes.append(len(image))
        outputs: dict[str, torch.Tensor] = context.net(image, *rest)
        return outputs

    rows = [*range(11, -1, -1), 15, 13]
    plain = Predictor(counted, context.device_config, context.losses, 4)
    ids = [patient_id for batch, _ in plain.predict(context.cohort, rows) for patient_id in batch.ids]
    assert sizes == [4, 4, 4, 2] and ids == [context.cohort.ids[row] for row in rows]


def test_dice_and_risk_by_hand() -> None:
    manual = torch.zeros(3, 1, 2, 2)
    manual[0, 0, 0] = manual[1, 0, 0] = 1
    predicted = torch.zeros(3, 1, 2, 2)
    predicted[:, 0, :, 0] = 0.9
    targets = {"mask": manual, "mask_known": torch.tensor([True, True, False])}
    dice = dice_of({"mask": predicted}, targets)
    assert dice[:2].tolist() == pytest.approx([0.5, 0.5]) and torch.isnan(dice[2])
    losses = MtHs().losses
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])  # half survive each interval: 3 in 36 months
    assert float(risk_of({"interval_logits": logits}, losses)) == pytest.approx(1 - 0.5**3, abs=1e-3)
    assert risk_of({"mask": predicted}, losses) is None
