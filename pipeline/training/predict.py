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

DEEP_FEATURES = "deep_features"
"""The one output on which no loss acts."""
THRESHOLD = 0.5
"""Tumour probability above which a voxel belongs to the mask (Meng et al., section 3.1)."""
RISK_DAYS = 36 * DAYS_PER_MONTH
"""Risk of a discrete-time network: 1 − S at 36 months (Meng et al., section 4.4)."""
MIRRORED = ("mask", "class_masks", "reconstruction", "activation_coronal")
"""Outputs that are images with a sagittal axis, which a mirrored input mirrors too."""


def run_network(call: Callable[..., Tensors], device_config: DeviceConfig, batch: Batch) -> Tensors:
    """Call a network on a batch; outputs are float32, whatever the network computes in.

    Args:
        call: The network, plain or compiled, as ``call(image, clinical, mask)``.
        device_config: Device, precision and memory order.
        batch: The patients.
    """
    with device_config.autocast():
        image = device_config.to_memory_format(batch.image)
        outputs = call(image, batch.clinical, batch.targets["mask"])
    return {name: value.float() for name, value in outputs.items()}


@dataclass(frozen=True)
class Predictor:
    """A trained network with all that is needed to run it.

    Attributes:
        call: The network in evaluation mode, as ``call(image, clinical, mask)``.
        device_config: Device, precision and memory order.
        losses: Its loss settings, which hold the intervals of a discrete-time network.
        batch: Number of patients in a batch.
        flip: Whether outputs are averaged over the sagittal mirror image; boxes are always those
            of the image itself.
    """

    call: Callable[..., Tensors]
    device_config: DeviceConfig
    losses: LossSettings
    batch: int
    flip: bool = False

    def predict(self, cohort: CohortTensors, rows: Sequence[int]) -> Iterator[tuple[Batch, Tensors]]:
        """Batches of patients with the network's outputs in float32, without gradient."""
        for start in range(0, len(rows), self.batch):
            batch = plain_batch(cohort, rows[start : start + self.batch])
            yield batch, self.outputs_of(batch)

    def outputs_of(self, batch: Batch) -> Tensors:
        """The network's outputs for a batch in float32, without gradient."""
        import torch

        with torch.inference_mode():
            outputs = run_network(self.call, self.device_config, batch)
            if self.flip:
                mirrored = run_network(self.call, self.device_config, _mirror(batch))
                outputs = {name: _mean(name, outputs[name], mirrored[name]) for name in outputs}
        return outputs


def _mirror(batch: Batch) -> Batch:
    targets = {**batch.targets, "mask": batch.targets["mask"].flip(-1)}
    return Batch(batch.ids, batch.rows, batch.image.flip(-1), batch.clinical, targets)


def _mean(name: str, plain: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    # The first box of an image and the first of its mirror image need not be of one lesion.
    if name.startswith(DETECTION):
        return plain
    return (plain + (mirrored.flip(-1) if name in MIRRORED else mirrored)) / 2


def risk_of(outputs: Tensors, losses: LossSettings) -> torch.Tensor | None:
    """Risk (B), higher = worse: the log-hazard, or 1 − S(36 months) of a discrete-time network.

    None for a network without survival output (segmentation alone).

    Args:
        outputs: Outputs of the network.
        losses: Its loss settings, with the intervals of a discrete-time network.
    """
    if "log_hazard" in outputs:
        return outputs["log_hazard"]
    if "interval_logits" in outputs:
        from pipeline.losses.discrete_time import survival_at

        return 1 - survival_at(outputs["interval_logits"], RISK_DAYS, losses.interval_edges_days)
    return None


def pixels_of(outputs: Tensors, targets: Tensors) -> list[tuple[float, ...]]:
    """Of each slice the pixels that :data:`pipeline.tables.predictions.PIXELS` names; NaN without a mask.

    Of volumes none: their number of background voxels is that of the crop.
    """
    if "mask" not in outputs or outputs["mask"].shape[1] != 1:
        return []
    predicted, manual = outputs["mask"] > THRESHOLD, targets["mask"] > THRESHOLD
    parts = (predicted & manual, predicted, manual, manual.new_ones(manual.shape))
    known = targets["mask_known"].bool().tolist()
    rows = zip(*(part.flatten(1).sum(1).double().cpu().tolist() for part in parts), strict=True)
    return [row if is_known else (float("nan"),) * 4 for row, is_known in zip(rows, known, strict=True)]


def dice_of(outputs: Tensors, targets: Tensors) -> torch.Tensor:
    """Dice (B) of masks at 0.5, 2|P∩G| / (|P| + |G|); NaN where one of the masks is missing or both are empty.

    Args:
        outputs: Outputs of the network, with `mask` (B, Z, Y, X) if it segments.
        targets: The batch's targets, with `mask` and `mask_known`.
    """
    import torch

    manual = targets["mask"] > THRESHOLD
    known = targets["mask_known"].bool()
    if "mask" not in outputs:
        return torch.full((len(manual),), torch.nan, device=manual.device)
    predicted = outputs["mask"] > THRESHOLD
    intersection = (predicted & manual).flatten(1).sum(1).double()
    total = predicted.flatten(1).sum(1) + manual.flatten(1).sum(1)
    dice = 2 * intersection / total
    return torch.where(known & (total > 0), dice, torch.nan).float()
