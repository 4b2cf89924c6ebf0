"""Discrete-time survival (Gensheimer and Narasimhan 2019) and its survival curve."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def discrete_time_loss(
    interval_logits: Tensor, time: Tensor, event: Tensor, edges: Sequence[float]
) -> Tensor:
    """Negative log-likelihood per patient (Gensheimer and Narasimhan 2019, Eq. 3).

    A patient who has the event in interval i pays −log of (surviving all before i, then not
    i). A censored one is credited with the intervals of which he survived at least half. What
    happens after the last edge counts as surviving everything.

    Args:
        interval_logits: (B, I), logit of the hazard of each interval: the conditional
            probability of the event in it, given survival to its start; higher = worse.
        time: (B,), in the unit of the edges.
        event: (B,), 1 = occurred.
        edges: Ends of the I intervals, rising; the first starts at 0.

    Returns:
        A scalar, the mean over the batch.
    """
    logits = interval_logits.float()
    survived, failed = interval_targets(time.float(), event, edges)
    log_survive, log_fail = functional.logsigmoid(-logits), functional.logsigmoid(logits)
    return -(survived * log_survive + failed * log_fail).sum(1).mean()


def interval_targets(time: Tensor, event: Tensor, edges: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Which intervals each patient survived and in which one the event fell, both (B, I) of 0 and 1."""
    ends = interval_ends(edges, time)
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    happened = (event > 0)[:, None]
    failed = happened & (time[:, None] >= starts) & (time[:, None] < ends)
    needed = torch.where(happened, ends, (starts + ends) / 2)
    survived = time[:, None] >= needed
    return survived.float(), failed.float()


def interval_ends(edges: Sequence[float], like: Tensor) -> Tensor:
    """Ends (I,) of the intervals, in the type and on the device of another tensor.

    Filled on the device: a copy from the processor would wait for an accelerator.
    """
    return torch.stack([like.new_full((), edge) for edge in edges])


def interval_survival(interval_logits: Tensor) -> Tensor:
    """Probability (B, I) of surviving to the end of each interval: the product of 1 − hazard."""
    log_survive = functional.logsigmoid(-interval_logits.float())
    # Not `cumsum`, which on an accelerator does not repeat bit for bit.
    until = torch.ones(log_survive.shape[1], log_survive.shape[1], device=log_survive.device).tril()
    return torch.exp((log_survive[:, None] * until).sum(2))


def survival_at(interval_logits: Tensor, days: float, edges: Sequence[float]) -> Tensor:
    """Survival probability (B,) at a time, the hazard constant within each interval.

    Beyond the last edge the curve stays where it ends.
    """
    log_survive = functional.logsigmoid(-interval_logits.float())
    starts = (0.0, *edges[:-1])
    share = [
        min(max((days - start) / (end - start), 0.0), 1.0) for start, end in zip(starts, edges, strict=True)
    ]
    return torch.exp((log_survive * log_survive.new_tensor(share)).sum(1))
