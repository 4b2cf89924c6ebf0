"""The page for looking at every crop: a mosaic with contours, outliers first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.report import slices
from pipeline.report.formatting import fixed
from pipeline.report.images import segmenter
from pipeline.report.outliers import MEASURES, ranked
from pipeline.report.page import ReportContent, Table
from pipeline.report.qc_tables import read_json
from pipeline.report.sections import Source
from pipeline.report.slices import Example, Image, Mask
from pipeline.report.style import WIDTH, FigureCanvas
from pipeline.store.crops import Crop, read_crop, read_status

if TYPE_CHECKING:
    import pandas as pd

ROWS_PER_SHEET = 12
GAP = 2
FLAGGED = "#B00020"


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


def quality(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """Sheets of all crops and the table of what is unusual about them."""
    job = source.job
    stored = [p for p in slices.stored_patients(job.results) if p in source.cohort.index]
    content.lists["sheets"] = []
    if not stored:
        return
    model = segmenter(job)
    dice = _dice(source, model)
    strips, rows = {}, []
    for patient_id in stored:
        mask = slices.predicted_mask(job.folds(model), patient_id, source.splits) if model else None
        crop = read_crop(job.results / "crops" / f"{patient_id}.zarr")
        strips[patient_id] = strip(slices.example_of(crop, mask, patient_id))
        told = read_status(job.results / "crops" / f"{patient_id}.zarr").problem
        found = read_json(job.results / "registration" / patient_id / "quality.json")
        aligned = {
            "overlap": "overlap_after",
            "similarity": "similarity_after",
            "rotation_deg": "rotation_deg",
        }
        rows.append(
            {"patient_id": patient_id, "problem": told, **measured(crop)}
            | {name: found.get(key) for name, key in aligned.items()}
            | {"dice": dice.get(patient_id)}
        )
    table = _table(rows)
    columns = columns_for(list(strips.values()))
    sheets = range(0, len(table), ROWS_PER_SHEET * columns)
    names = [f"crops_{number + 1}" for number in range(len(sheets))]
    for name, first in zip(names, sheets, strict=True):
        part = table.iloc[first : first + ROWS_PER_SHEET * columns]
        shown = [(p, strips[str(p)], bool(text)) for p, text in part["flags"].items()]
        content.lists["sheets"].append(_sheet(shown, columns, canvas, name))
    content.tell("crops", Table("Crops, outliers first", table.reset_index(), _on_page(table)))


def measured(crop: Crop) -> dict[str, Any]:
    """What is compared between the crops of a cohort, without the margin."""
    inner = slices.without_margin(crop.image.shape[1:], crop.attributes.margin)
    inside = crop.inside[inner] > 0
    found: dict[str, Any] = {
        "lesion_ml": crop.attributes.lesion_ml,
        "lesion_coverage": crop.attributes.lesion_coverage,
        "imaged": round(float(inside.mean()), 4),
    }
    images = dict(zip(crop.attributes.channels, crop.image, strict=True))
    if "pet" in images and crop.mask is not None and crop.mask[inner].any():
        found["suvmax"] = round(float(images["pet"][inner][crop.mask[inner] > 0].max()), 3)
    if "ct" in images and inside.any():
        found["ct_median_hu"] = round(float(np.median(images["ct"][inner][inside])), 1)
    return found


def strip(example: Example) -> Strip:
    """Axial, then coronal slices of every channel through the contour, as squares of voxels' true shape."""
    z, y, _ = slices.focus(example)
    parts: list[tuple[Image, Mask, Mask]] = []
    flat = next(iter(example.images.values())).shape[0] == 1
    for axial in (True,) if flat else (True, False):
        for name, image in list(example.images.items())[:2]:
            low, high = slices.window(name, image)
            grey = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
            shown = grey if name == "pet" else 1 - grey
            scale = example.aspect[0 if axial else 1]
            cuts = (shown, example.manual, example.predicted)
            planes = [_cut(a, (axial, z if axial else y), scale, image.shape) for a in cuts]
            one, two, three = (_framed(slices.thinned(plane.astype(np.float32))) for plane in planes)
            parts.append((one, two >= 0.5, three >= 0.5))
    high = max(part[0].shape[0] for part in parts)
    joined = [np.concatenate([_tall(part[i], high) for part in parts], axis=1) for i in range(3)]
    return Strip(joined[0].astype(np.float32), joined[1] > 0, joined[2] > 0)


def _cut(
    array: npt.NDArray[Any] | None, where: tuple[bool, int], scale: float, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """A slice with rows repeated or left out, so that its pixels are square."""
    axial, index = where
    whole = np.zeros(shape, dtype=bool) if array is None else array
    plane = whole[index] if axial else whole[::-1, index]
    rows = max(1, round(plane.shape[0] * scale))
    picked = np.minimum((np.arange(rows) / scale).astype(int), plane.shape[0] - 1)
    cut: npt.NDArray[Any] = plane[picked]
    return cut


def _framed(plane: Image) -> Image:
    return np.pad(plane, ((0, 0), (0, GAP)))


def _tall(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    return np.pad(array, ((0, rows - array.shape[0]), (0, 0)))


def columns_for(strips: list[Strip]) -> int:
    """How many strips stand side by side: two of four square slices, eight of one."""
    high = max(s.image.shape[0] for s in strips)
    wide = max(s.image.shape[1] for s in strips)
    return int(np.clip(round(8 * high / wide), 1, 8))


def _sheet(shown: list[tuple[Any, Strip, bool]], columns: int, canvas: FigureCanvas, name: str) -> str:
    """Strips in columns; all are one image, drawn as fast as a single one."""
    high = max(s.image.shape[0] for _, s, _ in shown)
    wide = max(s.image.shape[1] for _, s, _ in shown)
    pad = max(3, high // 6)
    rows = -(-len(shown) // columns)
    sheet = np.zeros((rows * (high + pad), columns * (wide + 4 * GAP)), dtype=np.float32)
    masks = [np.zeros(sheet.shape, dtype=bool) for _ in range(2)]
    figure, axes = canvas.new(WIDTH, WIDTH * sheet.shape[0] / sheet.shape[1])
    axis = axes[0, 0]
    for number, (patient_id, mine, flagged) in enumerate(shown):
        y = (number // columns) * (high + pad) + pad
        x = (number % columns) * (wide + 4 * GAP)
        place = (slice(y, y + mine.image.shape[0]), slice(x, x + mine.image.shape[1]))
        sheet[place], masks[0][place], masks[1][place] = mine.image, mine.manual, mine.predicted
        style = {"color": FLAGGED, "weight": "bold"} if flagged else {}
        axis.text(x, y - 1, patient_id, fontsize=7, ha="left", **style)
    axis.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    slices.outline(axis, masks[0], slices.MANUAL, "-", 0.8)
    slices.outline(axis, masks[1], slices.PREDICTED, "--", 0.8)
    axis.axis("off")
    figure.tight_layout(pad=0.1)
    return canvas.save(figure, name)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(rows).set_index("patient_id")
    known = [name for name in MEASURES if name in frame and frame[name].notna().any()]
    return ranked(frame[["problem", *known]].astype(dict.fromkeys(known, float)))


def _on_page(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    shown: dict[str, Any] = {"Patient": list(table.index), "Look at": list(table["flags"])}
    for name, (title, digits, _, _) in MEASURES.items():
        if name in table:
            shown[title] = [fixed(value, digits) for value in table[name]]
    return pd.DataFrame(shown)


def _dice(source: Source, model: str | None) -> dict[str, float]:
    """Dice of each patient's out-of-sample mask, where a network drew one."""
    import pandas as pd

    if model is None:
        return {}
    found = pd.read_parquet(source.job.results / "ensemble" / f"{model}.parquet").set_index("patient_id")
    return {str(k): float(v) for k, v in found["dice"].dropna().items()} if "dice" in found else {}
