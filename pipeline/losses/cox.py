"""Cox negative log partial likelihood (Meng et al. Eq. 3; Andrearczyk et al. Eq. 2) with tied times."""

from __future__ import annotations

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


class _Groups:
    """Where strata and tied times lie in the sorted batch.

    Sorted by stratum, then by falling time: a risk set is what came before, ties included.
    """

    def __init__(self, stratum: Tensor, tie: Tensor) -> None:
        self.stratum, self.tie = stratum, tie
        self.size = int(stratum.shape[0])


def _sort(time: Tensor, strata: Tensor | None) -> tuple[Tensor, _Groups]:
    order = torch.argsort(time, descending=True, stable=True)
    if strata is not None:
        order = order[torch.argsort(strata[order], stable=True)]
    times = time[order]
    stratum = torch.zeros_like(order) if strata is None else strata[order].long()
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = (times[1:] != times[:-1]) | (stratum[1:] != stratum[:-1])
    return order, _Groups(stratum, fresh.long().cumsum(0) - 1)


def _log_risk_set(hazard: Tensor, groups: _Groups) -> Tensor:
    """log Σ exp(h) over each patient's risk set, ties included.

    Batches are small (tens to hundreds): a masked B × B log-sum-exp is as fast as a sorted
    running one and is exact in every stratum.
    """
    inside = (groups.stratum[:, None] == groups.stratum[None]) & (groups.tie[:, None] >= groups.tie[None])
    return hazard.expand(groups.size, -1).masked_fill(~inside, -torch.inf).logsumexp(1)


def _efron(risk: Tensor, hazard: Tensor, happened: Tensor, groups: _Groups) -> Tensor:
    """Less k/d of the tied events' hazard for the k-th (k = 0 … d − 1) of d tied events."""
    tied = (groups.tie[:, None] == groups.tie[None]) & happened[None]
    count = tied.sum(1).clamp(min=1)
    before = tied.tril(-1).sum(1)
    share = before.to(hazard.dtype) / count.to(hazard.dtype)
    # the row of a censored patient with no tied event is all -inf: kept finite, it is not used
    alone = ~tied.any(1)
    rows = hazard.expand(groups.size, -1).masked_fill(~(tied | alone[:, None]), -torch.inf)
    # share of the risk set, in (0, 1]; above 1 only in rows not used, whose overflow would still reach
    # the gradient as 0 × inf
    ratio = torch.exp((rows.logsumexp(1) - risk).clamp(max=0.0))
    return risk + torch.log1p(-torch.where(happened, share * ratio, torch.zeros_like(share)))
