"""Cox's negative partial log-likelihood (Meng et al. Eq. 3; Andrearczyk et al. Eq. 2) with tied times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Ties = Literal["breslow", "efron"]


def cox_loss(
    log_hazard: Tensor, time: Tensor, event: Tensor, *, ties: Ties = "efron", strata: Tensor | None = None
) -> Tensor:
    """Negative partial log-likelihood divided by the number of events.

    The risk set of an event at t holds all patients with time ≥ t. Sums of exponentials are kept as
    logarithms, in float32 at least also under autocast, so that log-hazards of ±500 neither overflow
    nor vanish. Without events the result is 0 with a gradient of 0.

    Args:
        log_hazard: (B,), higher = worse.
        time: (B,), any unit.
        event: (B,), 1 = occurred, 0 = censored.
        ties: Breslow: tied events share the whole risk set; Efron 1977: for the k-th of d tied
            events it is reduced by k/d of the tied events' hazard.
        strata: (B,) integers; risk sets are taken within a stratum (e.g. a centre).

    Returns:
        A scalar, at least 0.
    """
    hazard = log_hazard if log_hazard.dtype == torch.float64 else log_hazard.float()
    if hazard.numel() == 0:
        return hazard.sum()
    with torch.autocast(hazard.device.type, enabled=False):
        order, groups = _sort(time, strata)
        sorted_hazard, happened = hazard[order], event[order] > 0
        events = happened.to(hazard.dtype)
        log_sum = _log_risk_set_sum(sorted_hazard, groups)
        if ties == "efron":
            log_sum = _efron(log_sum, sorted_hazard, happened, groups)
        log_sum = torch.where(happened, log_sum, torch.zeros_like(log_sum))
        return ((log_sum - sorted_hazard) * events).sum() / events.sum().clamp(min=1)


@dataclass(frozen=True)
class _Groups:
    """Positions of strata and tied times in the sorted batch.

    The batch is sorted by stratum, then by decreasing time: a risk set is all that comes before,
    ties included.

    Attributes:
        tie: (B,) number of the group of tied times, increasing.
        first: (B,) position of the first patient of each patient's group.
        last: (B,) position of the last patient of each patient's group.
        stratum: (B,) number of the stratum, increasing; None where there is one.
    """

    tie: Tensor
    first: Tensor
    last: Tensor
    stratum: Tensor | None


def _sort(time: Tensor, strata: Tensor | None) -> tuple[Tensor, _Groups]:
    order = torch.argsort(time, descending=True, stable=True)
    if strata is not None:
        order = order[torch.argsort(strata[order], stable=True)]
    times = time[order]
    starts = torch.ones_like(order, dtype=torch.bool)
    starts[1:] = times[1:] != times[:-1]
    stratum = None
    if strata is not None:
        opens = torch.zeros_like(starts)
        opens[1:] = strata[order][1:] != strata[order][:-1]
        starts |= opens
        stratum = opens.long().cumsum(0)
    tie = starts.long().cumsum(0) - 1
    first, last = torch.searchsorted(tie, tie), torch.searchsorted(tie, tie, right=True) - 1
    return order, _Groups(tie, first, last, stratum)


def _log_risk_set_sum(log_hazard: Tensor, groups: _Groups) -> Tensor:
    """log Σ exp(h) over each patient's risk set, ties included."""
    # Centred, so that a shift of all log-hazards costs no digits.
    centre = log_hazard.detach().max()
    centred = log_hazard - centre
    if groups.stratum is None:
        return centred.logcumsumexp(0)[groups.last] + centre
    # A row for each stratum there could be, −∞ where a patient is of another one: sizes that depend
    # on the data would stop an accelerator and could not be part of a CUDA graph.
    rows = torch.arange(len(centred), device=centred.device)[:, None]
    running = torch.where(groups.stratum == rows, centred, -torch.inf).logcumsumexp(1)
    return running[groups.stratum, groups.last] + centre


def _efron(log_sum: Tensor, log_hazard: Tensor, happened: Tensor, groups: _Groups) -> Tensor:
    """Reduce the sum by k/d of the tied events' hazard for the k-th (k = 0 … d − 1) of d tied events."""
    counted = happened.long().cumsum(0)
    earlier = counted - happened.long()
    before = earlier - earlier[groups.first]
    count = (counted[groups.last] - earlier[groups.first]).clamp(min=1)
    # A censored patient has no share: behind all tied events it would be 1, and log1p(−1) has no gradient.
    share = (before.to(log_hazard.dtype) / count.to(log_hazard.dtype)).masked_fill(~happened, 0.0)
    # The tied events' part of the risk set: relative to its sum, exponentials stay at or below 1.
    part = torch.exp(log_hazard - log_sum).masked_fill(~happened, 0.0)
    ratio = torch.zeros_like(log_hazard).index_add(0, groups.tie, part)[groups.tie].clamp(max=1.0)
    return log_sum + torch.log1p(-share * ratio)
