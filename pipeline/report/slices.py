"""Pictures of crops: PET and CT with manual and predicted contours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.crops.store import read_crop
from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, Canvas

if TYPE_CHECKING:
    import pandas as pd

CT_WINDOW = (-160.0, 240.0)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """One patient's pictures.

    Attributes:
        patient_id: Whose.
        pet: SUV (z, y, x).
        ct: HU (z, y, x).
        manual: Contour from the study, or None.
        predicted: Out-of-sample contour of a network, or None.
        caption: Under the picture.
        aspect: Pixel height / width of an axial slice, and of a coronal one.
    """

    patient_id: str
    pet: npt.NDArray[np.float32]
    ct: npt.NDArray[np.float32]
    manual: Mask | None
    predicted: Mask | None
    caption: str
    aspect: tuple[float, float]


def choose_examples(table: pd.DataFrame, count: int) -> list[str]:
    """Patients spread over the range of Dice (worst, ..., best), or the first ones without Dice.

    Args:
        table: Indexed by patient_id, with a column dice (may be all missing).
        count: How many.
    """
    ranked = table["dice"].dropna().sort_values(kind="stable") if "dice" in table else table.iloc[:0]
    ids = list(ranked.index) or list(table.index)
    if len(ids) <= count:
        return [str(i) for i in ids]
    picks = np.linspace(0, len(ids) - 1, count).round().astype(int)
    return [str(ids[i]) for i in picks]


def load_example(job: ReportJob, patient_id: str, model: str | None, caption: str) -> Example:
    """Read a patient's crop and a network's out-of-sample mask of it."""
    crop = read_crop(job.results / "crops" / f"{patient_id}.zarr")
    channels = list(crop.attributes.channels)
    z, y, x = crop.attributes.spacing_mm
    predicted = predicted_mask(job, patient_id, model) if model else None
    if predicted is not None and predicted.shape != crop.image.shape[1:]:
        predicted = None
    return Example(
        patient_id, crop.image[channels.index("pet")], crop.image[channels.index("ct")],
        None if crop.mask is None else crop.mask.astype(bool), predicted, caption, (y / x, z / x),
    )  # fmt: skip


def predicted_mask(job: ReportJob, patient_id: str, model: str) -> Mask | None:
    """A network's mask by the folds that did not train on the patient (majority for several)."""
    import zarr

    votes = []
    for folder in job.folds(model):
        store = folder / "masks.zarr"
        if not store.exists():
            continue
        group = zarr.open_group(str(store), mode="r")
        if patient_id in group and group[patient_id].attrs.get("set", "heldout") != "inner":
            votes.append(np.asarray(group[patient_id]) > 0)
    if not votes:
        return None
    return np.asarray(np.mean(votes, axis=0) >= 0.5)


def draw_examples(examples: list[Example], canvas: Canvas) -> str:
    """A row per patient: PET and CT, axial and coronal, through the contour's largest slice."""
    figure, axes = canvas.new(8.6, 2.15 * len(examples) + 0.3, len(examples), 4)
    for row, example in enumerate(examples):
        z, y, _ = focus(example)
        for column, (axial, image) in enumerate(
            ((True, example.pet), (True, example.ct), (False, example.pet), (False, example.ct))
        ):
            _panel(axes[row, column], example, image is example.pet, axial, z if axial else y)
        axes[row, 0].set_ylabel(
            example.caption, fontsize=7.5, rotation=0, ha="right", va="center", labelpad=4
        )
    for column, title in enumerate(("PET, axial", "CT, axial", "PET, coronal", "CT, coronal")):
        axes[0, column].set_title(title)
    _legend(figure)
    figure.tight_layout(h_pad=0.3, w_pad=0.3, rect=(0, 0.02, 1, 1))
    return canvas.save(figure, "examples")


def focus(example: Example) -> tuple[int, int, int]:
    """Slice indices (z, y, x) of the contour's largest area along each axis, or the PET's peak."""
    mask = example.manual if example.manual is not None and example.manual.any() else example.predicted
    if mask is None or not mask.any():
        peak = np.unravel_index(int(np.argmax(example.pet)), example.pet.shape)
        return int(peak[0]), int(peak[1]), int(peak[2])
    areas = [mask.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    return int(areas[0].argmax()), int(areas[1].argmax()), int(areas[2].argmax())


def _panel(axis: Any, example: Example, is_pet: bool, axial: bool, index: int) -> None:
    def cut(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return array[index] if axial else array[::-1, index]

    image = cut(example.pet if is_pet else example.ct)
    ceiling = max(5.0, float(np.percentile(example.pet, 99.7)))
    low, high = (0.0, ceiling) if is_pet else CT_WINDOW
    axis.imshow(
        image, cmap="gray_r" if is_pet else "gray", vmin=low, vmax=high, interpolation="nearest",
        aspect=example.aspect[0] if axial else example.aspect[1],
    )  # fmt: skip
    for mask, colour, style in ((example.manual, COLOURS[2], "-"), (example.predicted, COLOURS[1], "--")):
        if mask is not None and cut(mask).any() and not cut(mask).all():
            axis.contour(
                cut(mask).astype(float), levels=[0.5], colors=colour, linewidths=1.2, linestyles=style
            )
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set_visible(False)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    figure.legend(
        handles=[
            Line2D([], [], color=COLOURS[2], label="manual contour"),
            Line2D([], [], color=COLOURS[1], ls="--", label="predicted, out of sample"),
        ],
        loc="lower right", ncols=2, fontsize=8,
    )  # fmt: skip


def draw_mosaic(job: ReportJob, order: list[str], captions: dict[str, str], canvas: Canvas) -> str:
    """Every crop's PET through its contour, in the given order (outliers first)."""
    columns = 8
    rows = -(-len(order) // columns)
    figure, axes = canvas.new(1.25 * columns, 1.42 * rows + 0.3, rows, columns)
    for axis in axes.ravel():
        axis.axis("off")
    for axis, patient_id in zip(axes.ravel(), order, strict=False):
        example = load_example(job, patient_id, None, "")
        axis.axis("on")
        _panel(axis, example, True, True, focus(example)[0])
        axis.set_title(captions.get(patient_id, patient_id), fontsize=6.5, weight="normal", pad=2)
    figure.tight_layout(h_pad=0.2, w_pad=0.2)
    return canvas.save(figure, "mosaic")


def stored_patients(results: Path) -> list[str]:
    """Patients whose crop holds an image."""
    import json

    found = []
    for path in sorted(results.glob("crops/*.zarr")):
        attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8")).get("attributes", {})
        if attributes.get("status", {}).get("state") != "excluded":
            found.append(path.name.removesuffix(".zarr"))
    return found
