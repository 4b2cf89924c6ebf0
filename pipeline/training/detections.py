"""Boxes of a detecting network beside those of the manual masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.training.batches import Batch, Tensors

DETECTION = "detection"
"""Name of the output (B, N, 6) with boxes: x1, y1, x2, y2, score, kind; rows without a box are 0."""
Box = tuple[float, ...]


@dataclass
class PatientBoxes:
    """Boxes of some patients.

    Attributes:
        predicted: Boxes (x1, y1, x2, y2, score, kind) by patient id, the best first.
        manual: Boxes (x1, y1, x2, y2, kind) of the manual mask's regions by patient id; None without a
            contour.
    """

    predicted: dict[str, list[Box]] = field(default_factory=dict)
    manual: dict[str, list[Box] | None] = field(default_factory=dict)

    def add(self, batch: Batch, outputs: Tensors) -> None:
        """Add the boxes of a batch, if the network detects."""
        from pipeline.nets.instances import lesions_of

        if DETECTION not in outputs:
            return
        known = batch.targets["mask_known"].bool().tolist()
        for row, patient_id in enumerate(batch.ids):
            self.predicted[patient_id] = real_boxes(outputs[DETECTION][row])
            if not known[row]:
                self.manual[patient_id] = None
                continue
            # All lesions, also beyond the number that training is taught: each can be missed.
            lesions = lesions_of(batch.targets["mask"][row].squeeze(0).cpu(), largest=None)
            pairs = zip(lesions.boxes.tolist(), lesions.kinds.tolist(), strict=True)
            self.manual[patient_id] = [(*box, kind) for box, kind in pairs]


def real_boxes(boxes: torch.Tensor) -> list[Box]:
    """Boxes (N, 6) of one patient without the empty rows that fill the output up."""
    boxes = boxes.double().cpu()
    real = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return [tuple(box) for box in boxes[real].tolist()]


def detections_table(boxes: PatientBoxes, sets: Mapping[str, str], fold: int) -> pd.DataFrame:
    """Rows of `detections.parquet`, see :func:`pipeline.tables.detections.write_detections`.

    Args:
        boxes: Boxes of all patients.
        sets: Patient id → set, of the patients whose boxes are written.
        fold: Number of the fold.
    """
    import pandas as pd

    from pipeline.tables.detections import COLUMNS, CORNERS

    rows = []
    for patient_id, name in sets.items():
        manual = boxes.manual[patient_id]
        about = {"patient_id": patient_id, "set": name, "fold": fold, "contour": manual is not None}
        for *corners, score, kind in boxes.predicted[patient_id]:
            rows.append(
                {**about, "source": "predicted", "kind": kind, "score": score} | _named(corners, CORNERS)
            )
        for *corners, kind in manual or []:
            rows.append(
                {**about, "source": "manual", "kind": kind, "score": float("nan")} | _named(corners, CORNERS)
            )
    types = dict.fromkeys(("score", *CORNERS), "float64") | {"fold": "int64", "kind": "int64"}
    types |= dict.fromkeys(("patient_id", "set", "source"), "object") | {"contour": "bool"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)


def _named(corners: list[float], names: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(names, corners, strict=True))
