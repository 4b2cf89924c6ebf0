"""Recent log-hazards that join the risk sets of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import TrainingError

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors


class RiskMemory:
    """The last log-hazard of up to `size` patients, the most recent first.

    A batch of eight has risk sets of a few patients. Remembered patients enlarge them: they
    enter the sums over the risk set at the log-hazard they had, without gradient, and as if
    censored, since an event of theirs was an event of their own batch. A patient who is in
    the batch is not remembered twice.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        import torch

        self.size = size
        self.rows = torch.zeros(0, dtype=torch.int64, device=device)
        self.hazard = torch.zeros(0, dtype=torch.float32, device=device)

    def join(self, outputs: Tensors, batch: Batch, everyone: Tensors) -> tuple[Tensors, Tensors]:
        """Outputs and targets with remembered patients appended to the Cox risk sets.

        Args:
            outputs: Of the network, with log_hazard (B).
            batch: The batch.
            everyone: The cohort's `time` and `centre`, (N).

        Raises:
            TrainingError: The network has no log-hazard, or also a discrete-time output.
        """
        import torch

        if not self.size:
            return outputs, batch.targets
        if "log_hazard" not in outputs or "interval_logits" in outputs:
            raise TrainingError(
                "a memory of log-hazards needs a network with a Cox loss alone",
                where="training.risk_bank_size",
                action="set training.risk_bank_size: 0",
            )
        others = ~torch.isin(self.rows, batch.rows)
        rows, hazard = self.rows[others], self.hazard[others]
        joined = dict(outputs)
        joined["log_hazard"] = torch.cat([outputs["log_hazard"], hazard])
        targets = dict(batch.targets)
        targets["time"] = torch.cat([targets["time"], everyone["time"][rows]])
        targets["event"] = torch.cat([targets["event"], torch.zeros_like(hazard)])
        targets["centre"] = torch.cat([targets["centre"], everyone["centre"][rows]])
        return joined, targets

    def add(self, rows: torch.Tensor, hazard: torch.Tensor) -> None:
        """Remember a batch; the oldest are forgotten."""
        import torch

        if not self.size:
            return
        others = ~torch.isin(self.rows, rows)
        # A batch may hold a patient twice: the first of the two stays.
        first = torch.tensor([int(r) not in rows[:i].tolist() for i, r in enumerate(rows.tolist())])
        first = first.to(rows.device)
        self.rows = torch.cat([rows[first], self.rows[others]])[: self.size]
        self.hazard = torch.cat([hazard.detach().float()[first], self.hazard[others]])[: self.size]

    def state(self) -> Tensors:
        """For checkpoints."""
        return {"rows": self.rows, "hazard": self.hazard}

    def restore(self, state: Tensors) -> None:
        """Undo what happened since :meth:`state`."""
        self.rows = state["rows"].to(self.rows.device)
        self.hazard = state["hazard"].to(self.hazard.device)
