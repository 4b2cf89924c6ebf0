"""A network over many patients in one pass, in batches, in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.settings.base import DAYS_PER_MONTH
from pipeline.settings.losses import LossSettings
from pipeline.training.batches import Batch, plain_batch
from pipeline.training.detections import DETECTION

if TYPE_CHECKING:
    import torch

    from pipeline.training.batches import Tensors
    from pipeline.training.dataset import CohortTensors
    from pipeline.training.device import DeviceConfig

THRESHOLD = 0.5
"""Of the tumour probability (Meng et al., section 3.1)."""
RISK_DAYS = 36 * DAYS_PER_MONTH
"""Risk of a discrete-time network: 1 − S at 36 months (Meng et al., section 4.4)."""
# Mirroring both sides: what is averaged is what a mirror image leaves comparable.
MIRRORED = ("mask", "reconstruction", "activation_coronal")


@dataclass(frozen=True)
class Predictor:
    """A trained network with all that is needed to run it.

    Attributes:
        call: The network in evaluation mode, as ``call(image, clinical, mask)``.
        machine: Device and precision.
        losses: Its loss settings, which hold the intervals of a discrete-time network.
        batch: Patients at a time.
        flip: Average over the sagittal mirror image; boxes are those of the image itself.
    """

    call: Callable[..., Tensors]
    machine: DeviceConfig
    losses: LossSettings
    batch: int
    flip: bool = False

    def over(self, cohort: CohortTensors, rows: Sequence[int]) -> Iterator[tuple[Batch, Tensors]]:
        """Batches of patients with the network's outputs in float32, without gradient."""
        import torch

        for start in range(0, len(rows), self.batch):
            batch = plain_batch(cohort, rows[start : start + self.batch])
            with torch.inference_mode():
                outputs = self._run(batch)
                if self.flip:
                    mirror = self._run(_mirrored(batch))
                    outputs = {name: _mean(name, outputs[name], mirror[name]) for name in outputs}
            yield batch, outputs

    def _run(self, batch: Batch) -> Tensors:
        with self.machine.autocast():
            outputs = self.call(self.machine.arrange(batch.image), batch.clinical, batch.targets["mask"])
        return {name: value.float() for name, value in outputs.items()}


def _mirrored(batch: Batch) -> Batch:
    targets = {**batch.targets, "mask": batch.targets["mask"].flip(-1)}
    return Batch(batch.ids, batch.rows, batch.image.flip(-1), batch.clinical, targets)


def _mean(name: str, plain: torch.Tensor, mirror: torch.Tensor) -> torch.Tensor:
    # The first box of an image and the first of its mirror image need not be of one lesion.
    if name.startswith(DETECTION):
        return plain
    return (plain + (mirror.flip(-1) if name in MIRRORED else mirror)) / 2


def risk_of(outputs: Tensors, losses: LossSettings) -> torch.Tensor | None:
    """Risk (B), higher = worse: the log-hazard, or 1 − S(36 months) of a discrete-time network.

    None of a network without survival output (segmentation alone), which ranks nobody.
    """
    if "log_hazard" in outputs:
        return outputs["log_hazard"]
    if "interval_logits" in outputs:
        from pipeline.losses.discrete_time import survival_at

        return 1 - survival_at(outputs["interval_logits"], RISK_DAYS, losses.interval_edges_days)
    return None


def dice_of(outputs: Tensors, targets: Tensors) -> torch.Tensor:
    """Dice (B) of masks at 0.5, 2|P∩G| / (|P| + |G|); NaN without a mask on either side."""
    import torch

    truth = targets["mask"] > THRESHOLD
    known = targets["mask_known"].bool()
    if "mask" not in outputs:
        return torch.full((len(truth),), torch.nan, device=truth.device)
    found = outputs["mask"] > THRESHOLD
    both = (found & truth).flatten(1).sum(1).double()
    either = found.flatten(1).sum(1) + truth.flatten(1).sum(1)
    value = 2 * both / either
    return torch.where(known & (either > 0), value, torch.nan).float()
