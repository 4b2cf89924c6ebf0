"""Boxes of detecting networks in a new patient, in pixels of the crop and in the patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.tables.detections import CORNERS

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.training.detections import Box

FILE = "detections.csv"
POINTS = tuple(f"corner{k}_{axis}_mm" for k in range(1, 5) for axis in "xyz")
COLUMNS = ("patient_id", "model", "fold", "kind", "score", *CORNERS, *POINTS)


def boxes_table(
    patient_id: str, detections: Mapping[str, Sequence[Sequence[Box]]], crop: Path
) -> pd.DataFrame | None:
    """A row per box, of each network and fold separately; None where no network detects.

    Folds are not joined: their scores have no common scale, and a study evaluates the boxes of
    single folds. Columns `fold`, `kind`, `score`, `x1`, `y1`, `x2`, `y2` are those of
    :func:`pipeline.tables.detections.write_detections`. `corner{k}_{x,y,z}_mm` are the corners
    (x1, y1), (x2, y1), (x2, y2), (x1, y2) in the scanner coordinates of the CT (LPS, mm), in the
    plane of the slice's centre; the crop may be rotated in the patient, and a box with it.

    Args:
        patient_id: Identifies the patient.
        detections: Boxes (x1, y1, x2, y2, score, kind) by network and fold, the best first.
        crop: The crop store, of Z = 1 without its margin.
    """
    import pandas as pd

    if not detections:
        return None
    rows = []
    for model, folds in detections.items():
        for fold, boxes in enumerate(folds):
            for x1, y1, x2, y2, score, kind in boxes:
                rows.append((patient_id, model, fold, int(kind), score, x1, y1, x2, y2))
    frame = pd.DataFrame(rows, columns=list(COLUMNS[: len(COLUMNS) - len(POINTS)]))
    corners = frame[list(CORNERS)].to_numpy(dtype=np.float64)
    points = _scanner_corners(corners, crop).reshape(len(frame), len(POINTS))
    return pd.concat([frame, pd.DataFrame(points, columns=list(POINTS))], axis=1)


def _scanner_corners(boxes: np.ndarray, crop: Path) -> np.ndarray:
    """(n, 4, 3) corners (LPS x, y, z; mm) of boxes (n, 4; x1, y1, x2, y2; pixels without margin)."""
    from pipeline.store.crops import read_attributes, read_crop

    attributes, shape = read_attributes(crop), read_crop(crop).inside.shape
    # The network's slice is the middle one where a margin is stored above and below it.
    z = 0 if shape[0] == 1 else attributes.margin
    # Edges count from the outer edge of pixel 0, indices from its centre.
    x1, y1, x2, y2 = (boxes + attributes.margin - 0.5).T
    y, x = np.stack([y1, y1, y2, y2], axis=1), np.stack([x1, x2, x2, x1], axis=1)
    index = np.stack([np.full_like(x, z), y, x], axis=-1).reshape(-1, 3)
    return attributes.scanner_points(index, shape).reshape(-1, 4, 3)
