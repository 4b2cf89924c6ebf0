"""Recent log-hazards that join the risk sets of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import TrainingError

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Batch, Tensors


class RiskBank:
    """The last log-hazard of up to `size` patients, the most recent first.

    A batch of eight has risk sets of a few patients. Patients of earlier batches enlarge them:
    they enter the sums over the risk set at the log-hazard they had, without gradient, and as if
    censored, since their own event was an event of their own batch. A patient who is in the
    batch is not taken from the bank as well.

    Args:
        size: Number of patients; 0 switches the bank off.
        device: The device of the log-hazards.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        import torch

        self.size = size
        self.rows = torch.zeros(0, dtype=torch.int64, device=device)
        self.log_hazard = torch.zeros(0, dtype=torch.float32, device=device)

    def extend_risk_sets(self, outputs: Tensors, batch: Batch, cohort: Tensors) -> tuple[Tensors, Tensors]:
        """Outputs and targets with the bank's patients appended to the Cox risk sets.

        Args:
            outputs: Outputs of the network, with log_hazard (B).
            batch: The batch.
            cohort: `time` and `centre` of all patients, (N).

        Raises:
            TrainingError: The network has no log-hazard, or also a discrete-time output.
        """
        import torch

        if not self.size:
            return outputs, batch.targets
        if "log_hazard" not in outputs or "interval_logits" in outputs:
            raise TrainingError(
                "a bank of log-hazards needs a network whose only survival loss is Cox's",
                where="training.risk_bank_size",
                action="set training.risk_bank_size: 0",
            )
        others = ~torch.isin(self.rows, batch.rows)
        rows, log_hazard = self.rows[others], self.log_hazard[others]
        extended = dict(outputs)
        extended["log_hazard"] = torch.cat([outputs["log_hazard"], log_hazard])
        targets = dict(batch.targets)
        targets["time"] = torch.cat([targets["time"], cohort["time"][rows]])
        targets["event"] = torch.cat([targets["event"], torch.zeros_like(log_hazard)])
        targets["centre"] = torch.cat([targets["centre"], cohort["centre"][rows]])
        return extended, targets

    def add(self, rows: torch.Tensor, log_hazard: torch.Tensor) -> None:
        """Put the patients of a batch first; the oldest entries beyond the bank's size are dropped."""
        import torch

        if not self.size:
            return
        others = ~torch.isin(self.rows, rows)
        # A batch may hold a patient twice: the first of the two stays.
        first = torch.tensor([int(r) not in rows[:i].tolist() for i, r in enumerate(rows.tolist())])
        first = first.to(rows.device)
        self.rows = torch.cat([rows[first], self.rows[others]])[: self.size]
        log_hazard = log_hazard.detach().float()[first]
        self.log_hazard = torch.cat([log_hazard, self.log_hazard[others]])[: self.size]

    def state(self) -> Tensors:
        """The bank's content, for checkpoints."""
        return {"rows": self.rows, "log_hazard": self.log_hazard}

    def restore(self, state: Tensors) -> None:
        """Go back to the content that :meth:`state` returned."""
        self.rows = state["rows"].to(self.rows.device)
        self.log_hazard = state["log_hazard"].to(self.log_hazard.device)
