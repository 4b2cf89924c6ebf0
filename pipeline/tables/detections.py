"""Boxes of one detecting network in one fold: `detections.parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import TableError
from pipeline.tables.parquet import read_frame, write_frame
from pipeline.tables.splits import FOLD_SETS

if TYPE_CHECKING:
    import pandas as pd

FILE = "detections.parquet"
CORNERS = ("x1", "y1", "x2", "y2")
COLUMNS = ("patient_id", "set", "fold", "source", "kind", "score", *CORNERS, "contour")
SOURCES = ("predicted", "manual")


def write_detections(path: Path, frame: pd.DataFrame) -> None:
    """Write boxes after checking the contract.

    A row per box. Columns: patient_id; set (train, validation, test, external); fold; source
    (`predicted` by the network, or `manual`: a connected region of the manual mask); kind (1, 2 …:
    the mask's value); score in [0, 1], higher = surer, missing for manual boxes; x1, y1, x2, y2 in pixels of
    the crop without its margin, from the outer edge of pixel 0, x along the last axis, so that
    x2 − x1 is the width; contour, whether the patient's lesions are known: boxes that are
    predicted in a patient without contour are neither right nor wrong.

    Raises:
        TableError: A column is missing, a value has no meaning, or a box is empty.
    """
    check_detections(frame, str(path))
    write_frame(path, frame)


def read_detections(path: Path) -> pd.DataFrame:
    """Read and check boxes.

    Raises:
        TableError: The file is missing, or see :func:`write_detections`.
    """
    if not path.is_file():
        raise TableError(
            "a detecting network has written no boxes",
            where=str(path),
            action="run the rule train_fold again",
        )
    frame = read_frame(path)
    check_detections(frame, str(path))
    return frame


def check_detections(frame: pd.DataFrame, where: str) -> None:
    """Raise a TableError where the contract of :func:`write_detections` is broken."""
    import numpy as np

    missing = set(COLUMNS) - set(frame.columns)
    if missing:
        raise TableError(f"detections lack columns: {', '.join(sorted(missing))}", where=where)
    for column, allowed in (("set", FOLD_SETS), ("source", SOURCES)):
        if not frame[column].isin(allowed).all():
            raise TableError(f"detections have an unknown {column}", where=where, expected=", ".join(allowed))
    predicted = frame["source"] == "predicted"
    scores = frame.loc[predicted, "score"].astype(float)
    if not scores.between(0, 1).all():
        raise TableError("scores of boxes are not between 0 and 1", where=where)
    x1, y1, x2, y2 = (frame[name].to_numpy(float) for name in CORNERS)
    # Written as what is valid, so that NaN is not.
    valid = (x1 >= 0) & (y1 >= 0) & (x2 > x1) & (y2 > y1) & np.isfinite(x2) & np.isfinite(y2)
    if not valid.all():
        patients = frame.loc[~valid, "patient_id"].unique()
        raise TableError(
            "boxes are empty or lie outside the image",
            where=where,
            expected="0 ≤ x1 < x2 and 0 ≤ y1 < y2",
            got=", ".join(map(str, patients[:5])),
        )
    if (~frame.loc[~predicted, "contour"].astype(bool)).any():
        raise TableError("a patient has manual boxes and no contour", where=where)
