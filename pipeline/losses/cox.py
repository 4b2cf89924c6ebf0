"""Cox negative log partial likelihood (Meng et al. Eq. 3; Andrearczyk et al. Eq. 2) with tied times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Ties = Literal["breslow", "efron"]


def cox_loss(
    log_hazard: Tensor, time: Tensor, event: Tensor, *, ties: Ties = "efron", strata: Tensor | None = None
) -> Tensor:
    """Negative log partial likelihood divided by the number of events.

    The risk set of an event at t holds everybody with time ≥ t. Sums of exponentials are taken
    as logarithms, in float32 at least whatever autocast says, so log-hazards of ±500 neither
    overflow nor vanish. Without events the result is 0 and its gradient is 0, still attached.

    Args:
        log_hazard: (B,), higher = worse.
        time: (B,), any unit.
        event: (B,), 1 = occurred, 0 = censored.
        ties: Breslow: tied events share the whole risk set; Efron 1977: the k-th of d tied
            events sees it less k/d of the tied events' hazard.
        strata: (B,) integers; risk sets are taken within a stratum (e.g. a centre).

    Returns:
        A scalar, at least 0.
    """
    hazard = log_hazard if log_hazard.dtype == torch.float64 else log_hazard.float()
    if hazard.numel() == 0:
        return hazard.sum()
    with torch.autocast(hazard.device.type, enabled=False):
        order, groups = _sort(time, strata)
        hazard, happened = hazard[order], event[order] > 0
        deaths = happened.to(hazard.dtype)
        risk = _log_risk_set(hazard, groups)
        if ties == "efron":
            risk = _efron(risk, hazard, happened, groups)
        risk = torch.where(happened, risk, torch.zeros_like(risk))
        return ((risk - hazard) * deaths).sum() / deaths.sum().clamp(min=1)


@dataclass(frozen=True)
class _Groups:
    """Where strata and tied times lie in the sorted batch.

    Sorted by stratum, then by falling time: a risk set is what came before, ties included.

    Attributes:
        tie: (B,) number of the group of tied times, rising.
        first, last: (B,) position of the first and last patient of one's group.
        sizes: Patients of each stratum.
    """

    tie: Tensor
    first: Tensor
    last: Tensor
    sizes: list[int]


def _sort(time: Tensor, strata: Tensor | None) -> tuple[Tensor, _Groups]:
    order = torch.argsort(time, descending=True, stable=True)
    sizes = [int(order.shape[0])]
    if strata is not None:
        order = order[torch.argsort(strata[order], stable=True)]
    times = time[order]
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = times[1:] != times[:-1]
    if strata is not None:
        stratum = strata[order]
        fresh[1:] |= stratum[1:] != stratum[:-1]
        sizes = stratum.unique_consecutive(return_counts=True)[1].tolist()
    tie = fresh.long().cumsum(0) - 1
    first, last = torch.searchsorted(tie, tie), torch.searchsorted(tie, tie, right=True) - 1
    return order, _Groups(tie, first, last, sizes)


def _log_risk_set(hazard: Tensor, groups: _Groups) -> Tensor:
    """log Σ exp(h) over each patient's risk set, ties included."""
    # Centred, so that a shift of all log-hazards costs no digits.
    centre = hazard.detach().max()
    running = [part.logcumsumexp(0) for part in (hazard - centre).split(groups.sizes)]
    return torch.cat(running)[groups.last] + centre


def _efron(risk: Tensor, hazard: Tensor, happened: Tensor, groups: _Groups) -> Tensor:
    """Less k/d of the tied events' hazard for the k-th (k = 0 … d − 1) of d tied events."""
    counted = happened.long().cumsum(0)
    earlier = counted - happened.long()
    before = earlier - earlier[groups.first]
    count = (counted[groups.last] - earlier[groups.first]).clamp(min=1)
    share = before.to(hazard.dtype) / count.to(hazard.dtype)
    # The tied events' part of the risk set, by whose logarithm the exponentials stay at or below 1.
    part = torch.exp(hazard - risk).masked_fill(~happened, 0.0)
    ratio = torch.zeros_like(hazard).index_add(0, groups.tie, part)[groups.tie].clamp(max=1.0)
    return risk + torch.log1p(-share * ratio)
