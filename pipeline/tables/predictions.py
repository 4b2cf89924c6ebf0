"""Predictions of one model in one fold: `predictions.parquet`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import TableError
from pipeline.tables.parquet import read_frame, write_frame
from pipeline.tables.splits import FOLD_SETS

if TYPE_CHECKING:
    import pandas as pd

DISTANCES = ("hd95_mm", "assd_mm")
"""Surface distances of predicted and manual mask, mm; infinite where one of them is empty."""
LESIONS = ("lesions_found", "lesions_missed", "lesions_false", "predicted_ml", "manual_ml")
"""Lesions of the manual mask in the predicted one and not, of the predicted one alone; volumes of both masks, mL."""
PIXELS = ("pixels_both", "pixels_predicted", "pixels_manual", "pixels_all")
"""Pixels of a slice in the predicted and the manual mask, in the one, in the other, and all there are."""


OUT_OF_SAMPLE = "risk_out_of_sample"
"""Risk by a model that was not fitted on the patient: of training patients cross-fitted, else the risk."""


PERMUTED_RISKS = "permuted_risks.parquet"
"""File of a fold: its test patients' risks where one input is another test patient's."""
PERMUTED_COLUMNS = ("patient_id", "column", "permutation", "risk")
UNION = "union"
"""All classes of a mask together, where columns name a class."""
_DICE, _OVERLAP, _SIZE = "dice_", "overlap_voxels_", "size_voxels_"


def dice_column(mask_class: str) -> str:
    """Column of the Dice of a class of the mask."""
    return _DICE + mask_class


def overlap_column(mask_class: str) -> str:
    """Column of the number of voxels that predicted and manual mask of a class share."""
    return _OVERLAP + mask_class


def size_column(mask_class: str) -> str:
    """Column of the number of voxels of the predicted mask of a class plus that of the manual one."""
    return _SIZE + mask_class


def classes_of(columns: Iterable[str]) -> tuple[str, ...]:
    """Names of the classes that a table has columns of, the union first; empty where it has none."""
    return tuple(name.removeprefix(_SIZE) for name in map(str, columns) if name.startswith(_SIZE))


def is_of_mask(column: str) -> bool:
    """Whether a column says how far a predicted mask agrees with the manual one."""
    return column in ("dice", *DISTANCES, *LESIONS, *PIXELS) or column.startswith((_DICE, _OVERLAP, _SIZE))


def survival_column(days: float) -> str:
    """Column of the survival probability at a time in days: `survival_365.25d`."""
    return f"survival_{days:g}d"


def write_predictions(path: Path, frame: pd.DataFrame) -> None:
    """Write predictions after checking the contract.

    Columns: patient_id, set (train, validation, test, external); of models that predict survival
    risk (float64; the log-hazard, higher = worse; 1 − S(36 months) of discrete-time models), of
    classical models risk_out_of_sample, and `survival_{days}d` in [0, 1]; dice in [0, 1] or missing,
    hd95_mm and assd_mm, numbers of lesions and volumes of masks;
    with classes of the mask `dice_{class}`, and `overlap_voxels_{class}` and
    `size_voxels_{class}` of each and of their `union`; and label probabilities: `label_x` (of the
    label being true) or `label_x_0`, `label_x_1`, … (of each class).

    Raises:
        TableError: A column is missing, a patient occurs twice, or a risk is not finite.
    """
    check_predictions(frame, str(path))
    write_frame(path, frame)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read and check predictions."""
    frame = read_frame(path)
    check_predictions(frame, str(path))
    return frame


def write_permuted_risks(path: Path, frame: pd.DataFrame) -> None:
    """Write a network's risks under permuted inputs, a row per input, permutation and test patient of the fold.

    Columns: patient_id; column (`image {channel}`, `contour` or a clinical column); permutation from 0; risk, higher
    = worse.
    """
    write_frame(path, frame)


def read_permuted_risks(path: Path) -> pd.DataFrame:
    """Read a network's risks under permuted inputs.

    Raises:
        TableError: The file is missing or has other columns.
    """
    frame = read_frame(path)
    if tuple(frame.columns) != PERMUTED_COLUMNS:
        raise TableError(
            "a network's risks under permuted inputs have other columns",
            where=str(path),
            expected=", ".join(PERMUTED_COLUMNS),
            got=", ".join(map(str, frame.columns)),
            action="run the rule train_fold again",
        )
    return frame


def check_predictions(frame: pd.DataFrame, where: str) -> None:
    """Raise a TableError where the contract of :func:`write_predictions` is broken."""
    import numpy as np

    missing = {"patient_id", "set"} - set(frame.columns)
    if missing:
        raise TableError(f"predictions lack columns: {', '.join(sorted(missing))}", where=where)
    if frame["patient_id"].duplicated().any():
        raise TableError("predictions name a patient twice", where=where)
    if not frame["set"].isin(FOLD_SETS).all():
        raise TableError("predictions have an unknown set", where=where, expected=", ".join(FOLD_SETS))
    if "risk" not in frame:
        survival = [c for c in frame.columns if str(c).startswith("survival_")]
        if survival:
            raise TableError(
                "predictions have survival probabilities and no risk", where=where, got=", ".join(survival)
            )
        return
    infinite = frame.loc[~np.isfinite(frame["risk"].astype(float)), "patient_id"]
    if len(infinite):
        raise TableError("risks are not finite", where=where, got=", ".join(infinite[:5]))
