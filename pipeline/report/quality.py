"""The page of every crop: sheets of slices with contours, outliers first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.report import slices
from pipeline.report.formatting import format_number
from pipeline.report.outliers import MEASURES, rank_outliers
from pipeline.report.page import ReportContent
from pipeline.report.page_table import Table
from pipeline.report.qc_tables import read_json
from pipeline.report.sections import StudyResults
from pipeline.report.slices import Example, Image, Mask, SlicePlane
from pipeline.report.style import WIDTH, FigureCanvas
from pipeline.store.crops import Crop, read_crop, read_status
from pipeline.tables.parquet import read_frame

if TYPE_CHECKING:
    import pandas as pd

ROWS_PER_SHEET = 12
GAP = 2
FLAGGED_COLOUR = "#B00020"
ALIGNMENT = {"overlap": "overlap_after", "similarity": "similarity_after", "rotation_deg": "rotation_deg"}
"""Measure → entry of the registration's `quality.json`."""


@dataclass(frozen=True)
class Strip:
    """A patient's slices side by side.

    Attributes:
        image: Grey levels in [0, 1], (rows, columns).
        manual: The study's contour on it.
        predicted: A network's out-of-sample contour on it.
    """

    image: Image
    manual: Mask
    predicted: Mask


@dataclass(frozen=True)
class Tile:
    """A patient's place on a sheet.

    Attributes:
        patient_id: Printed above the strip.
        strip: The slices.
        flagged: Whether the patient has a problem or an outlying measure.
    """

    patient_id: str
    strip: Strip
    flagged: bool


def quality(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Sheets of all crops and the table of what is unusual about them."""
    job = study.job
    stored = slices.stored_patients(study)
    if not stored:
        return
    model = slices.segmenting_network(job)
    dice = _dice(study, model)
    strips, rows = {}, []
    for patient_id in stored:
        mask = slices.predicted_mask(job.folds(model), patient_id, study.splits) if model else None
        path = job.results / "crops" / f"{patient_id}.zarr"
        crop = read_crop(path)
        strips[patient_id] = strip(slices.example_of(crop, mask, patient_id))
        alignment = read_json(job.results / "registration" / patient_id / "quality.json")
        rows.append(
            {"patient_id": patient_id, "problem": read_status(path).problem, **crop_measures(crop)}
            | {name: alignment.get(key) for name, key in ALIGNMENT.items()}
            | {"dice": dice.get(patient_id)}
        )
    table = _table(rows)
    columns = columns_for(list(strips.values()))
    tiles = [Tile(str(p), strips[str(p)], bool(flags)) for p, flags in table["flags"].items()]
    for number, first in enumerate(range(0, len(tiles), ROWS_PER_SHEET * columns), start=1):
        part = tiles[first : first + ROWS_PER_SHEET * columns]
        content.crop_sheets.append(_sheet(part, columns, canvas, f"crops_{number}"))
    content.add_table("crops", Table("Crops, outliers first", table.reset_index(), _on_page(table)))


def crop_measures(crop: Crop) -> dict[str, Any]:
    """Measures of a crop without its margin, named as in :data:`pipeline.report.outliers.MEASURES`."""
    inner = slices.without_margin(crop.image.shape[1:], crop.attributes.margin)
    inside = crop.inside[inner] > 0
    measures: dict[str, Any] = {
        "lesion_ml": crop.attributes.lesion_ml,
        "lesion_coverage": crop.attributes.lesion_coverage,
        "imaged": round(float(inside.mean()), 4),
    }
    images = dict(zip(crop.attributes.channels, crop.image, strict=True))
    if "pet" in images and crop.mask is not None and crop.mask[inner].any():
        measures["suvmax"] = round(float(images["pet"][inner][crop.mask[inner] > 0].max()), 3)
    if "ct" in images and inside.any():
        measures["ct_median_hu"] = round(float(np.median(images["ct"][inner][inside])), 1)
    return measures


def strip(example: Example) -> Strip:
    """Axial, then coronal slices of every channel through the contour, in voxels' true proportions."""
    z, y, _ = slices.focus(example)
    parts = []
    flat = next(iter(example.images.values())).shape[0] == 1
    for axial in (True,) if flat else (True, False):
        plane, aspect = SlicePlane(axial, z if axial else y), example.aspect[0 if axial else 1]
        for name, image in list(example.images.items())[:2]:
            low, high = slices.window(name, image)
            grey = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
            empty = np.zeros(image.shape, dtype=bool)
            manual, predicted = (empty if m is None else m > 0 for m in (example.manual, example.predicted))
            parts.append(
                Strip(
                    _tile(plane.of(grey if name == "pet" else 1 - grey), aspect),
                    _tile(plane.of(manual), aspect) >= 0.5,
                    _tile(plane.of(predicted), aspect) >= 0.5,
                )
            )
    return Strip(
        _side_by_side([part.image for part in parts]).astype(np.float32),
        _side_by_side([part.manual for part in parts]) > 0,
        _side_by_side([part.predicted for part in parts]) > 0,
    )


def _tile(plane: npt.NDArray[Any], aspect: float) -> Image:
    """A slice with square pixels, reduced to the size of a tile, with a gap to its right."""
    rows = max(1, round(plane.shape[0] * aspect))
    nearest = np.minimum((np.arange(rows) / aspect).astype(int), plane.shape[0] - 1)
    return np.pad(slices.block_means(plane[nearest].astype(np.float32)), ((0, 0), (0, GAP)))


def _side_by_side(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Arrays joined along columns, shorter ones padded below."""
    rows = max(array.shape[0] for array in arrays)
    padded = [np.pad(array, ((0, rows - array.shape[0]), (0, 0))) for array in arrays]
    return np.concatenate(padded, axis=1)


def columns_for(strips: list[Strip]) -> int:
    """How many strips stand side by side: two of four square slices, eight of one."""
    height = max(s.image.shape[0] for s in strips)
    width = max(s.image.shape[1] for s in strips)
    return int(np.clip(round(8 * height / width), 1, 8))


def _sheet(tiles: list[Tile], columns: int, canvas: FigureCanvas, name: str) -> str:
    """Strips in columns; drawn as one image, which is much faster than one each."""
    height = max(tile.strip.image.shape[0] for tile in tiles)
    width = max(tile.strip.image.shape[1] for tile in tiles)
    pad = max(3, height // 6)
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * (height + pad), columns * (width + 4 * GAP)), dtype=np.float32)
    manual, predicted = np.zeros(sheet.shape, dtype=bool), np.zeros(sheet.shape, dtype=bool)
    figure, axes = canvas.new(WIDTH, WIDTH * sheet.shape[0] / sheet.shape[1])
    axis = axes[0, 0]
    for number, tile in enumerate(tiles):
        y = (number // columns) * (height + pad) + pad
        x = (number % columns) * (width + 4 * GAP)
        place = tuple(slice(at, at + size) for at, size in zip((y, x), tile.strip.image.shape, strict=True))
        sheet[place], manual[place] = tile.strip.image, tile.strip.manual
        predicted[place] = tile.strip.predicted
        style = {"color": FLAGGED_COLOUR, "weight": "bold"} if tile.flagged else {}
        axis.text(x, y - 1, tile.patient_id, fontsize=7, ha="left", **style)
    axis.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    slices.outline(axis, manual, slices.MANUAL, "-", 0.8)
    slices.outline(axis, predicted, slices.PREDICTED, "--", 0.8)
    axis.axis("off")
    figure.tight_layout(pad=0.1)
    return canvas.save(figure, name)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows).set_index("patient_id")
    measured = [name for name in MEASURES if name in frame and frame[name].notna().any()]
    return rank_outliers(frame[["problem", *measured]].astype(dict.fromkeys(measured, float)))


def _on_page(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    shown: dict[str, Any] = {"Patient": list(table.index), "Reason": list(table["flags"])}
    for name, measure in MEASURES.items():
        if name in table:
            shown[measure.title] = [format_number(value, measure.digits) for value in table[name]]
    return pd.DataFrame(shown)


def _dice(study: StudyResults, model: str | None) -> dict[str, float]:
    """Dice of each patient's out-of-sample mask, where a network predicted one."""

    if model is None:
        return {}
    path = study.job.results / "ensemble" / f"{model}.parquet"
    predictions = read_frame(path).set_index("patient_id")
    if "dice" not in predictions:
        return {}
    return {str(patient_id): float(dice) for patient_id, dice in predictions["dice"].dropna().items()}
