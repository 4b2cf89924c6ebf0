"""Discrete time, ranking, labels and their sum."""

import math

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.losses.combined import combined_loss
from pipeline.losses.cox import cox_loss
from pipeline.losses.discrete_time import (
    discrete_time_loss,
    interval_survival,
    interval_targets,
    survival_at,
)
from pipeline.losses.labels import label_loss
from pipeline.losses.ranking import deephit_ranking, hazard_ranking
from pipeline.settings.losses import TERMS, LossSettings

EDGES = (10.0, 20.0, 40.0)


def test_interval_targets_by_hand():
    # Gensheimer and Narasimhan 2019: a censored patient is credited with an interval from its midpoint on
    time = torch.tensor([5.0, 10.0, 14.0, 16.0, 50.0, 50.0])
    event = torch.tensor([1, 1, 0, 0, 0, 1])
    survived, failed = interval_targets(time, event, EDGES)
    assert survived.tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]
    assert failed.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_discrete_time_loss_by_hand():
    hazards = torch.tensor([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5]])
    loss = discrete_time_loss(torch.logit(hazards), torch.tensor([15.0, 31.0]), torch.tensor([1, 0]), EDGES)
    first = -math.log(0.9) - math.log(0.2)
    second = -3 * math.log(0.5)
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_survival_curve():
    logits = torch.logit(torch.tensor([[0.1, 0.2, 0.3]]))
    assert interval_survival(logits)[0].tolist() == pytest.approx([0.9, 0.72, 0.504])
    assert survival_at(logits, 20.0, EDGES).item() == pytest.approx(0.72)
    assert survival_at(logits, 30.0, EDGES).item() == pytest.approx(0.72 * 0.7**0.5)
    assert survival_at(logits, 0.0, EDGES).item() == 1
    assert survival_at(logits, 400.0, EDGES).item() == pytest.approx(0.504)


def test_discrete_time_is_stable():
    logits = torch.tensor([[500.0, -500.0, 500.0]], requires_grad=True)
    loss = discrete_time_loss(logits, torch.tensor([15.0]), torch.tensor([1]), EDGES)
    loss.backward()
    assert loss.item() == pytest.approx(1000)
    assert torch.isfinite(logits.grad).all()


def test_deephit_ranking_by_hand():
    hazards = torch.tensor([[0.5, 0.1, 0.1], [0.2, 0.5, 0.1]])
    loss = deephit_ranking(torch.logit(hazards), torch.tensor([5.0, 15.0]), torch.tensor([1, 0]), EDGES, 0.1)
    # one comparable pair: F₁(5 d) = 0.5, F₂(5 d) = 0.2 (Lee et al. 2018, Eq. 5)
    assert loss.item() == pytest.approx(math.exp(-(0.5 - 0.2) / 0.1), rel=1e-5)


def test_rankings_without_pairs_are_zero_with_gradient():
    hazard = torch.randn(3, requires_grad=True)
    loss = hazard_ranking(hazard, torch.ones(3), torch.ones(3), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(hazard.grad, torch.zeros(3))


def test_binary_labels_leave_unknown_ones_out():
    logits = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    targets = {"label_a": torch.tensor([1.0, math.nan]), "label_b": torch.tensor([1.0, 0.0])}
    loss = label_loss(logits, targets, ("label_a", "label_b"), (1.0, 0.5))
    b = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
    assert loss.item() == pytest.approx(math.log(2) + 0.5 * b, abs=1e-6)


def test_classes_are_torchs_cross_entropy():
    logits, target = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    loss = label_loss(logits, {"label_type": target}, ("label_type",))
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, target).item())


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(TrainingError, match="label_b"):
        label_loss(torch.randn(2, 2), {"label_a": torch.zeros(2)}, ("label_a", "label_b"))


def deepmts_like():
    torch.manual_seed(0)
    outputs = {"log_hazard": torch.randn(4, requires_grad=True), "mask": torch.rand(4, 2, 3, 3)}
    targets = {
        "mask": (torch.rand(4, 2, 3, 3) > 0.5).float(),
        "time": torch.tensor([1.0, 2.0, 2.0, 3.0]),
        "event": torch.tensor([1, 1, 1, 0]),
    }
    return outputs, targets


def test_the_papers_sum():
    outputs, targets = deepmts_like()
    weight = torch.full((2, 3), 0.5)
    total, terms = combined_loss(outputs, targets, LossSettings(), [weight])
    cox = cox_loss(outputs["log_hazard"], targets["time"], targets["event"])
    # Eq. 1: Dice + Cox + λ Σw²
    assert set(terms) == {"cox", "dice", "l2"}
    assert total.item() == pytest.approx(cox.item() + terms["dice"].item() + 0.1 * 6 * 0.25, abs=1e-6)
    assert -1 <= terms["dice"] <= 0
    assert not any(value.requires_grad for value in terms.values())


def test_patients_without_a_contour_have_no_mask_terms():
    outputs, targets = deepmts_like()
    known = {**targets, "mask_known": torch.tensor([1, 0, 1, 0])}
    _, terms = combined_loss(outputs, known, LossSettings())
    half = {key: value[::2] for key, value in outputs.items()}
    _, expected = combined_loss(half, {key: value[::2] for key, value in targets.items()}, LossSettings())
    assert terms["dice"].item() == pytest.approx(expected["dice"].item())


def test_a_missing_target_is_named():
    outputs, targets = deepmts_like()
    with pytest.raises(TrainingError, match=r"cox lacks its target.*centre"):
        combined_loss(outputs, targets, LossSettings(stratify=True))


def test_nothing_left_is_refused():
    outputs, targets = deepmts_like()
    with pytest.raises(TrainingError, match="no loss term"):
        combined_loss(outputs, targets, LossSettings(cox=0, dice=0))


def test_geometric_weighting():
    outputs, targets = deepmts_like()
    total, terms = combined_loss(outputs, targets, LossSettings(weighting="geometric", cox=3.0))
    expected = terms["cox"] ** 0.75 * (1 + terms["dice"]) ** 0.25
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_geometric_weighting_survives_a_batch_without_events():
    outputs, targets = deepmts_like()
    targets["event"] = torch.zeros(4)
    total, terms = combined_loss(outputs, targets, LossSettings(weighting="geometric"))
    assert total.item() == pytest.approx(1 + terms["dice"].item(), rel=1e-5)


def test_uncertainty_weighting():
    outputs, targets = deepmts_like()
    s = torch.zeros(len(TERMS))
    s[TERMS.index("cox")] = 0.7
    with pytest.raises(TrainingError, match="log-variances"):
        combined_loss(outputs, targets, LossSettings(weighting="uncertainty"))
    outputs["log_variances"] = s.expand(4, -1)
    total, terms = combined_loss(outputs, targets, LossSettings(weighting="uncertainty"))
    expected = math.exp(-0.7) * terms["cox"] + 0.35 + (1 + terms["dice"])
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_bf16_outputs_are_summed_in_float32():
    outputs, targets = deepmts_like()
    rough = {key: value.bfloat16() for key, value in outputs.items()}
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = combined_loss(rough, targets, LossSettings())
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(combined_loss(outputs, targets, LossSettings())[0].item(), abs=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_edges_days": (10, 5)},
        {"labels": ("label_a",), "label_weights": (1, 2)},
        {"labels": ("label_a", "label_b"), "classes": 3},
    ],
)
def test_settings_that_contradict_themselves(wrong):
    with pytest.raises(ValueError):
        LossSettings(**wrong)
