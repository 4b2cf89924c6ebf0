"""Masks of several classes: labels that a network predicts, and how far they agree with the manual ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.tables.predictions import UNION, dice_column, overlap_column, size_column
from pipeline.training.predict import THRESHOLD

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from pipeline.training.batches import Tensors


def predicted_labels(outputs: Tensors) -> torch.Tensor:
    """The predicted mask (B, Z, Y, X) uint8: 0 background, 1 tumour or 1, 2, … the classes.

    A voxel belongs to the tumour where the probability of any class is above one half, as without
    classes, and to the most probable class, of equal ones the first.

    Args:
        outputs: Outputs of the network, with `mask` and, of several classes, `class_masks`.
    """
    import torch

    tumour = outputs["mask"] > THRESHOLD
    if "class_masks" not in outputs:
        return tumour.byte()
    return torch.where(tumour, outputs["class_masks"].argmax(1) + 1, 0).byte()


@dataclass
class ClassOverlaps:
    """Voxel counts of predicted and manual masks, patient by patient.

    Attributes:
        classes: Names of the classes; empty: the network tells none apart, and the whole mask is counted.
        counts: Of each patient (1 + K, 2): voxels in both masks, and in the one plus those in the other;
            of all classes together first. NaN without a manual mask. Empty of a network without masks.
    """

    classes: tuple[str, ...] = ()
    counts: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, outputs: Tensors, targets: Tensors) -> None:
        """Add the patients of a batch."""
        if "mask" not in outputs:
            return
        import torch

        predicted, manual = predicted_labels(outputs), targets["mask"].round()
        pairs = [(predicted > 0, manual > 0)]
        pairs += [(predicted == label, manual == label) for label in range(1, len(self.classes) + 1)]
        each = [
            torch.stack([(p & g).flatten(1).sum(1), p.flatten(1).sum(1) + g.flatten(1).sum(1)], 1)
            for p, g in pairs
        ]
        counts = torch.stack(each, 1).double().cpu().numpy()
        counts[~targets["mask_known"].bool().cpu().numpy()] = np.nan
        self.counts.extend(counts)

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Columns of `predictions.parquet`: counts of the union (the mask) and each class, Dice of each class.

        The Dice of a class that neither mask holds is missing; of one that only one of them holds it is 0.
        """
        if not self.counts:
            return {}
        columns: dict[str, NDArray[np.float64]] = {}
        counts = np.stack(self.counts)
        for number, name in enumerate((UNION, *self.classes)):
            overlap, size = counts[:, number, 0], counts[:, number, 1]
            columns |= {overlap_column(name): overlap, size_column(name): size}
            if name != UNION:
                with np.errstate(invalid="ignore"):
                    columns[dice_column(name)] = np.where(size > 0, 2 * overlap / size, np.nan)
        return columns
