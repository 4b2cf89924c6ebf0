"""The Cox loss with its gradient: ours, torchsurv's, and the textbook's running sum.

Processor time of a forward and a backward pass, in one run, for batches as networks have them and
larger. The running sum (`exp().cumsum()`) is what much public code does: fast, and wrong from
log-hazards near 88 on.

    python -m benchmarks.losses
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.losses.cox import cox_loss

SIZES = (8, 32, 128, 512)
REPEATS = 30


def running_sum(hazard: Tensor, time_days: Tensor, event: Tensor) -> Tensor:
    """Breslow without regard to ties, by a cumulative sum over falling times."""
    order = torch.argsort(time_days, descending=True)
    h, e = hazard[order], event[order]
    return -((h - torch.log(torch.exp(h).cumsum(0))) * e).sum() / e.sum()


def measured(loss: Callable[[Tensor, Tensor, Tensor], Tensor], size: int) -> float:
    """Processor milliseconds of one pass forward and back."""
    generator = torch.Generator().manual_seed(size)
    hazard = torch.randn(size, generator=generator).requires_grad_()
    days, event = torch.randint(1, size, (size,), generator=generator).float(), torch.ones(size)
    loss(hazard, days, event).backward()
    begun = time.process_time()
    for _ in range(REPEATS):
        loss(hazard, days, event).backward()
    return 1000 * (time.process_time() - begun) / REPEATS


def main() -> None:
    """Measure and print."""
    from torchsurv.loss.cox import neg_partial_log_likelihood

    def theirs(ties: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        return lambda h, t, e: neg_partial_log_likelihood(h, e.bool(), t, ties_method=ties)

    ways: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "ours, Efron": cox_loss,
        "torchsurv, Efron": theirs("efron"),
        "ours, Breslow": lambda h, t, e: cox_loss(h, t, e, ties="breslow"),
        "torchsurv, Breslow": theirs("breslow"),
        "running sum": running_sum,
    }
    print("| batch | " + " | ".join(ways) + " |")
    print("|---" * (len(ways) + 1) + "|")
    for size in SIZES:
        times = [f"{measured(way, size):.2f} ms" for way in ways.values()]
        print(f"| {size} | " + " | ".join(times) + " |", flush=True)


if __name__ == "__main__":
    main()
