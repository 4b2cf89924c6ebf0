"""Masks in the report: columns of their table, outlines of classes in distinct colours, their legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.report.formatting import display_name
from pipeline.report.style import COLOURS, INK

if TYPE_CHECKING:
    import pandas as pd

HD95 = "HD95, mm"
MASK_COLUMNS = {
    "Dice": "dice",
    "Aggregated Dice": "dice_agg",
    HD95: "hd95_mm",
    "ASSD, mm": "assd_mm",
    "Lesions found": "lesion_sensitivity",
    "False lesions": "false_lesions",
    "Volume error": "volume_error",
    "F1 of all pixels": "pixel_f1",
    "IoU of all pixels": "pixel_iou",
}
"""Title → metric of masks; the last two only of slices."""
Labels = npt.NDArray[np.uint8]
CLASS_COLOURS = tuple(COLOURS[k] for k in (2, 1, 0, 3, 4, 5, 6, 7))
"""Colours of labels 1, 2, …, which colour-blind people tell apart; the ninth class begins again."""


def class_columns(metrics: pd.DataFrame) -> dict[str, str]:
    """Title → metric of Dice of each class of the mask, mean and aggregated over patients.

    Args:
        metrics: `metrics.csv`.
    """
    names = [str(name) for name in metrics["metric"].unique() if str(name).startswith("dice_agg_")]
    classes = [name.removeprefix("dice_agg_") for name in names if name != "dice_agg_mean"]
    columns = {f"Dice, {display_name(name)}": f"dice_{name}" for name in classes}
    columns |= {f"Aggregated Dice, {display_name(name)}": f"dice_agg_{name}" for name in classes}
    return columns | {"Mean of classes": "dice_agg_mean"} if classes else {}


def unresolved_distances(masks: pd.DataFrame, voxel_mm: float) -> pd.DataFrame:
    """The table of masks as printed: a median HD95 of one voxel or less says so in place of a number."""
    if HD95 not in masks:
        return masks
    words = f"one voxel ({voxel_mm:g} mm) or less"
    values = masks[HD95].str.extract(r"^([\d.]+)", expand=False).astype(float)
    return masks.assign(**{HD95: masks[HD95].where(~(values <= voxel_mm), words)})


def class_colour(label: int) -> str:
    """Colour of a label, from 1."""
    return CLASS_COLOURS[(label - 1) % len(CLASS_COLOURS)]


def voted_labels(votes: Sequence[Labels]) -> Labels:
    """The label volume that folds agree on: tumour by at least half of them, then the class most of them give.

    Args:
        votes: Label volumes (z, y, x) of folds, one or more; of equal numbers of votes the first class counts.
    """
    stacked = np.stack(votes)
    if not stacked.any():
        return np.zeros(stacked.shape[1:], dtype=np.uint8)
    tumour = (stacked > 0).mean(axis=0) >= 0.5
    counts = np.stack([(stacked == label).sum(axis=0) for label in range(1, int(stacked.max()) + 1)])
    return np.where(tumour, counts.argmax(axis=0) + 1, 0).astype(np.uint8)


def class_handles(classes: Sequence[str], manual: bool, predicted: bool) -> list[Any]:
    """Entries of a legend: a colour for each class, and a line for the study's and for predicted contours."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=class_colour(label), label=display_name(name))
        for label, name in enumerate(classes, start=1)
    ]
    if manual:
        handles.append(Line2D([], [], color=INK, label="contour of the study"))
    if predicted:
        handles.append(Line2D([], [], color=INK, ls="--", label="predicted, out of sample"))
    return handles
