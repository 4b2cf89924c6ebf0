"""Ranking of comparable pairs, on interval logits as DeepHit does or on log-hazards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.losses.discrete_time import interval_ends, interval_survival


def comparable_pairs(time: Tensor, event: Tensor) -> Tensor:
    """(B, B) of bool: patient i had the event before patient j's time.

    Args:
        time: (B,), any unit.
        event: (B,), 1 = occurred.
    """
    return (event > 0)[:, None] & (time[:, None] < time[None])


def deephit_ranking(
    interval_logits: Tensor, time: Tensor, event: Tensor, edges: Sequence[float], sigma: float
) -> Tensor:
    """Mean over comparable pairs of exp(−(Fᵢ(tᵢ) − Fⱼ(tᵢ)) / σ), F = 1 − S (Lee et al. 2018, Eq. 5).

    Args:
        interval_logits: (B, I), higher = worse.
        time: (B,), in the unit of the edges.
        event: (B,), 1 = occurred.
        edges: Ends of the I intervals; an event after the last counts at the last.
        sigma: Scale of the exponential.
    """
    incidence = 1 - interval_survival(interval_logits)
    ends = interval_ends(edges, time)
    interval = torch.searchsorted(ends, time.contiguous(), right=True).clamp(max=len(edges) - 1)
    at_event = incidence[:, interval].T  # row i: incidence of all patients at patient i's time
    own = at_event.diagonal()[:, None]
    return _mean(torch.exp(-(own - at_event) / sigma), comparable_pairs(time, event))


def hazard_ranking(log_hazard: Tensor, time: Tensor, event: Tensor, sigma: float) -> Tensor:
    """Mean over comparable pairs of log(1 + exp(−(hᵢ − hⱼ)/σ)), a bound of concordance (Raykar et al. 2008).

    Args:
        log_hazard: (B,), higher = worse.
        time: (B,), any unit.
        event: (B,), 1 = occurred.
        sigma: Scale of differences of log-hazards.
    """
    hazard = log_hazard.float()
    difference = (hazard[:, None] - hazard[None]) / sigma
    return _mean(functional.softplus(-difference), comparable_pairs(time, event))


def _mean(values: Tensor, pairs: Tensor) -> Tensor:
    compared = torch.where(pairs, values, torch.zeros_like(values))
    return compared.sum() / pairs.sum().clamp(min=1)
