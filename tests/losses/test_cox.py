"""Cox loss against lifelines, a float64 brute force, and its own invariants."""

import math
import random

import pandas as pd
import pytest
import torch

from pipeline.losses.cox import cox_loss

TIES = ("breslow", "efron")


def brute_force(hazard, time, event, ties):
    """Negative log partial likelihood per event, by the textbook's sums (Breslow 1974, Efron 1977)."""
    total, events = 0.0, sum(event)
    for t in sorted({t for t, e in zip(time, event, strict=True) if e}):
        at_risk = sum(math.exp(h) for h, u in zip(hazard, time, strict=True) if u >= t)
        tied = [h for h, u, e in zip(hazard, time, event, strict=True) if u == t and e]
        hazard_tied = sum(math.exp(h) for h in tied)
        for k, h in enumerate(tied):
            less = k / len(tied) * hazard_tied if ties == "efron" else 0.0
            total += math.log(at_risk - less) - h
    return total / events if events else 0.0


def cohort(seed):
    draw = random.Random(seed)
    size = draw.randint(2, 24)
    time = [draw.randint(1, max(2, size // 2)) for _ in range(size)]  # ties on purpose
    event = [int(draw.random() < 0.6) for _ in range(size)]
    return [draw.gauss(0, 2) for _ in range(size)], time, event


@pytest.mark.parametrize("ties", TIES)
def test_200_cohorts_with_ties_against_a_brute_force(ties):
    for seed in range(200):
        hazard, time, event = cohort(seed)
        got = cox_loss(
            torch.tensor(hazard, dtype=torch.float64), torch.tensor(time), torch.tensor(event), ties=ties
        )
        assert got.item() == pytest.approx(brute_force(hazard, time, event, ties), abs=1e-10), seed
        single = cox_loss(torch.tensor(hazard), torch.tensor(time), torch.tensor(event), ties=ties)
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(got.item(), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_200_cohorts_against_lifelines():
    # lifelines' Efron log-likelihood, taken where the score is zero or its step was stopped:
    # the likelihood it reports belongs to the coefficient it reports
    from lifelines import CoxPHFitter

    compared = 0
    for seed in range(400):
        if compared == 200:
            break
        covariate, time, event = cohort(seed)
        if sum(event) < 2 or len(time) < 5:
            continue
        frame = pd.DataFrame({"x": covariate, "t": time, "e": event})
        fitter = CoxPHFitter(penalizer=0.0)
        try:
            fitter.fit(frame, "t", "e", fit_options={"max_steps": 50})
        except Exception:  # a covariate that separates the events has no finite estimate
            continue
        beta = float(fitter.params_["x"])
        if abs(beta) > 20:
            continue
        hazard = beta * torch.tensor(covariate, dtype=torch.float64)
        loss = cox_loss(hazard, torch.tensor(time), torch.tensor(event), ties="efron")
        assert -loss.item() * sum(event) == pytest.approx(fitter.log_likelihood_, abs=1e-6), seed
        compared += 1
    assert compared == 200


@pytest.mark.parametrize("ties", TIES)
def test_gradient(ties):
    time = torch.tensor([3.0, 3.0, 1.0, 5.0, 3.0, 5.0])
    event = torch.tensor([1, 1, 0, 1, 1, 1])
    hazard = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    strata = torch.tensor([0, 0, 0, 1, 0, 1])
    hazard.requires_grad_()
    assert torch.autograd.gradcheck(lambda h: cox_loss(h, time, event, ties=ties), hazard)
    assert torch.autograd.gradcheck(lambda h: cox_loss(h, time, event, ties=ties, strata=strata), hazard)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("shift", [-500.0, 500.0])
def test_stable_and_unchanged_by_a_shift(ties, shift):
    hazard, time, event = (torch.tensor(x) for x in cohort(7))
    moved = (hazard + shift).requires_grad_()
    loss = cox_loss(moved, time, event, ties=ties)
    loss.backward()
    assert loss.item() == pytest.approx(cox_loss(hazard, time, event, ties=ties).item(), abs=2e-4)
    assert torch.isfinite(moved.grad).all()
    assert moved.grad.sum().abs() < 1e-5  # a shift changes nothing, so the gradient sums to 0


@pytest.mark.parametrize("ties", TIES)
def test_log_hazards_500_apart(ties):
    hazard = torch.tensor([500.0, -500.0, 0.0, 500.0], requires_grad=True)
    loss = cox_loss(hazard, torch.tensor([4.0, 1.0, 2.0, 2.0]), torch.ones(4), ties=ties)
    loss.backward()
    # by hand: 0; log(2e⁵⁰⁰) + 500; the tied pair at t = 2 sees e⁵⁰⁰ + 1 + e⁵⁰⁰ ...
    second = 1000 + math.log(2)
    pair = 2 * math.log(2) if ties == "breslow" else math.log(2) + math.log(1.5)
    assert loss.item() == pytest.approx((0 + second + pair + 500) / 4, rel=1e-6)
    assert torch.isfinite(hazard.grad).all()


def test_no_events_gives_a_zero_that_carries_gradient():
    hazard = torch.randn(4, requires_grad=True)
    loss = cox_loss(hazard, torch.arange(4.0), torch.zeros(4))
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(hazard.grad, torch.zeros(4))


def test_higher_hazard_for_the_earlier_event_is_better():
    time, event = torch.tensor([1.0, 2.0]), torch.tensor([1, 1])
    right = cox_loss(torch.tensor([1.0, 0.0]), time, event)
    wrong = cox_loss(torch.tensor([0.0, 1.0]), time, event)
    # risk sets by hand: {1, 2} then {2}
    assert right.item() == pytest.approx(math.log(1 + math.exp(-1)) / 2, abs=1e-6)
    assert right < wrong


def test_strata_are_the_sum_of_separate_risk_sets():
    hazard, time, event = (torch.tensor(x) for x in cohort(11))
    centre = torch.arange(len(time)) % 3
    total = sum(
        cox_loss(hazard[centre == c], time[centre == c], event[centre == c]) * event[centre == c].sum()
        for c in range(3)
    )
    got = cox_loss(hazard, time, event, strata=centre) * event.sum()
    assert got.item() == pytest.approx(total.item(), abs=1e-5)


def test_order_of_patients_does_not_matter():
    hazard, time, event = (torch.tensor(x) for x in cohort(3))
    order = torch.randperm(len(time), generator=torch.Generator().manual_seed(1))
    assert cox_loss(hazard, time, event).item() == pytest.approx(
        cox_loss(hazard[order], time[order], event[order]).item(), abs=1e-6
    )


def test_autocast_computes_in_float32():
    hazard, time, event = (torch.tensor(x) for x in cohort(5))
    with torch.autocast("cpu", torch.bfloat16):
        loss = cox_loss(hazard, time, event)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cox_loss(hazard, time, event))


def test_agrees_with_torchsurv_without_ties():
    torchsurv = pytest.importorskip("torchsurv.loss.cox")
    for seed in range(20):
        hazard, _, event = (torch.tensor(x) for x in cohort(seed))
        time = torch.randperm(len(hazard), generator=torch.Generator().manual_seed(seed)).float()
        if event.sum() == 0:
            continue
        theirs = torchsurv.neg_partial_log_likelihood(hazard, event.bool(), time, reduction="sum")
        ours = cox_loss(hazard, time, event) * event.sum()
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-4), seed


@pytest.mark.parametrize("ties", TIES)
def test_a_whole_cohort_in_any_order(ties):
    # 600 patients, few distinct times, four centres: each centre by the textbook's sums
    draw = random.Random(0)
    hazard = [draw.gauss(0, 3) for _ in range(600)]
    time = [draw.randint(1, 40) for _ in range(600)]
    event = [int(draw.random() < 0.5) for _ in range(600)]
    centre = [draw.randrange(4) for _ in range(600)]
    total = 0.0
    for c in range(4):
        own = [i for i in range(600) if centre[i] == c]
        picked = ([x[i] for i in own] for x in (hazard, time, event))
        total += brute_force(*picked, ties) * sum(event[i] for i in own)
    got = cox_loss(
        torch.tensor(hazard), torch.tensor(time), torch.tensor(event), ties=ties, strata=torch.tensor(centre)
    )
    assert got.item() == pytest.approx(total / sum(event), abs=1e-5)


def test_log_hazards_in_the_hundreds_keep_gradients_finite() -> None:
    """A censored patient tied with nobody, far below the others: his unused row must not overflow."""
    hazard = torch.tensor([117.0, -67, -95, -361, 313, -189, 171, 162], requires_grad=True)
    time = torch.tensor([5.0, 3, 2, 1, 1, 3, 4, 2])
    cox_loss(hazard, time, torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0])).backward()
    assert hazard.grad is not None and torch.isfinite(hazard.grad).all()


def test_a_censored_patient_tied_with_a_far_higher_event_has_a_gradient() -> None:
    """By hand: the event at t = 2 sees itself alone, that at t = 1 the same patient: softmax is (1, 0, 0) there."""
    hazard = torch.tensor([180.0, -305.0, -71.0], requires_grad=True)
    cox_loss(hazard, torch.tensor([2.0, 1.0, 2.0]), torch.tensor([1.0, 1.0, 0.0])).backward()
    assert hazard.grad is not None and hazard.grad.tolist() == pytest.approx([0.5, -0.5, 0.0], abs=1e-6)
