"""Slices of crops with manual and predicted contours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.report.job import ReportJob
from pipeline.report.mask_classes import Labels, class_colour, class_handles, voted_labels
from pipeline.report.page import ReportContent
from pipeline.report.sections import StudyResults
from pipeline.report.style import COLOURS, WIDTH, FigureCanvas
from pipeline.store.crops import Crop, read_crop
from pipeline.tables.parquet import read_frame
from pipeline.tables.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

CT_WINDOW = (-160.0, 240.0)
MANUAL, PREDICTED = COLOURS[2], COLOURS[1]
Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """One patient's images and contours, without the crop's margin.

    Attributes:
        patient_id: Identifies the patient.
        images: Channel → image (z, y, x): `pet` in SUV, `ct` in HU, others as they are.
        manual: Labels (z, y, x) of the study's contour, or None; 1: the lesion, or 1, 2, … the classes.
        predicted: Labels of a network's contour, out of sample, or None.
        caption: Text beside the images.
        aspect: Pixel height / width of an axial slice, and of a coronal one.
        classes: Names of the classes of the mask; empty: it tells none apart.
    """

    patient_id: str
    images: dict[str, Image]
    manual: Labels | None
    predicted: Labels | None
    caption: str
    aspect: tuple[float, float]
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SlicePlane:
    """A slice of a volume (z, y, x): axial at z, or coronal at y with the head up."""

    axial: bool
    index: int

    def of(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The slice (rows, columns)."""
        return volume[self.index] if self.axial else volume[::-1, self.index]


class View(NamedTuple):
    """What a panel shows: a channel, axial or coronal."""

    channel: str
    axial: bool


def examples(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """The section of example slices: patients from the lowest to the highest Dice."""

    job = study.job
    stored = stored_patients(study)
    if not stored:
        return
    table = study.cohort.loc[stored, ["set"]].copy()
    model = segmenting_network(job)
    if model:
        predictions = read_frame(job.results / "ensemble" / f"{model}.parquet").set_index("patient_id")
        if "dice" in predictions:
            table["dice"] = predictions["dice"].reindex(table.index)
    shown = []
    for patient_id in choose_examples(table, job.settings.report.examples):
        mask = predicted_mask(job.folds(model), patient_id, study.splits) if model else None
        shown.append(load_example(job, patient_id, mask, caption(patient_id, table)))
    content.add_figure("examples", draw_examples(shown, canvas))


def segmenting_network(job: ReportJob) -> str | None:
    """The first network that segments and left masks."""
    for model, network in job.settings.networks().items():
        if "mask" in network.gives() and any((folder / "masks.zarr").exists() for folder in job.folds(model)):
            return model
    return None


def caption(patient_id: str, table: pd.DataFrame) -> str:
    """A patient's id and, where known, Dice, in two lines."""
    dice = table["dice"].get(patient_id) if "dice" in table else None
    return f"{patient_id}\nDice {dice:.2f}" if dice is not None and dice == dice else patient_id


def stored_patients(study: StudyResults) -> list[str]:
    """Usable patients whose crop holds an image, sorted."""
    patients = []
    for patient_id in sorted(set(study.job.patients) & set(study.cohort.index)):
        path = study.job.results / "crops" / f"{patient_id}.zarr" / "zarr.json"
        attributes = json.loads(path.read_text(encoding="utf-8")).get("attributes", {})
        if attributes.get("status", {}).get("state") != "excluded":
            patients.append(patient_id)
    return patients


def choose_examples(table: pd.DataFrame, count: int) -> list[str]:
    """Patients spread over the range of Dice (worst, ..., best), or of the ids without Dice.

    Args:
        table: Indexed by patient_id; may have a column dice, with missing values.
        count: Number of patients.
    """
    by_dice = table["dice"].dropna().sort_values(kind="stable") if "dice" in table else table.iloc[:0]
    ids = list(by_dice.index) or list(table.index)
    if len(ids) <= count:
        return [str(i) for i in ids]
    picks = np.linspace(0, len(ids) - 1, count).round().astype(int)
    return [str(ids[i]) for i in picks]


def load_example(job: ReportJob, patient_id: str, predicted: Labels | None, caption: str) -> Example:
    """Read a patient's crop; a mask that does not fit its grid is left out."""
    return example_of(read_crop(job.results / "crops" / f"{patient_id}.zarr"), predicted, caption)


def example_of(crop: Crop, predicted: Labels | None, caption: str) -> Example:
    """A crop without its margin; a predicted mask that does not fit its grid is left out."""
    z, y, x = crop.attributes.spacing_mm
    inner = without_margin(crop.image.shape[1:], crop.attributes.margin)
    images = {name: crop.image[i][inner] for i, name in enumerate(crop.attributes.channels)}
    shape = next(iter(images.values())).shape
    manual = None if crop.mask is None else crop.mask[inner]
    fits = predicted is not None and predicted.shape == shape
    shown, classes = predicted if fits else None, crop.attributes.classes
    return Example(crop.attributes.patient_id, images, manual, shown, caption, (y / x, z / x), classes)


def without_margin(shape: tuple[int, ...], margin: int) -> tuple[slice, ...]:
    """The part of a stored crop that networks see: none is cut from a single slice."""
    return tuple(slice(margin, n - margin) if margin and n > 1 else slice(None) for n in shape)


def predicted_mask(folders: Sequence[Path], patient_id: str, splits: Splits) -> Labels | None:
    """A network's mask of a patient by the folds that the report's numbers come from.

    Development: the fold that held the patient out. External: the majority of all folds
    (a half counts). Other folds' masks of a development patient are never shown: those
    folds trained on the patient or chose their weights on it.

    Args:
        folders: The network's folders, by fold.
        patient_id: The patient whose mask is wanted.
        splits: The folds, which say who was held out where.
    """
    import zarr

    votes = []
    for number, folder in enumerate(folders):
        store = folder / "masks.zarr"
        unseen = patient_id in splits.external or patient_id in splits.folds[number].test
        if unseen and (store / patient_id).is_dir():
            votes.append(np.asarray(zarr.open_array(store / patient_id, mode="r")[...], dtype=np.uint8))
    return voted_labels(votes) if votes else None


def focus(example: Example) -> tuple[int, int, int]:
    """Slice indices (z, y, x) of the contour's largest area along each axis, or the peak of
    the PET (else of the first channel)."""
    mask = example.manual if example.manual is not None and example.manual.any() else example.predicted
    if mask is None or not mask.any():
        image = example.images.get("pet", next(iter(example.images.values())))
        peak = np.unravel_index(int(np.argmax(image)), image.shape)
        return int(peak[0]), int(peak[1]), int(peak[2])
    areas = [(mask > 0).sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    return int(areas[0].argmax()), int(areas[1].argmax()), int(areas[2].argmax())


def window(name: str, image: Image) -> tuple[float, float]:
    """Lowest and highest grey level of a channel: PET from 0, CT soft tissue, others percentiles."""
    if name == "ct":
        return CT_WINDOW
    low, high = np.percentile(image, (1, 99.7))
    if name == "pet":
        return 0.0, max(5.0, float(high))
    return float(low), float(high) if high > low else float(low) + 1.0


def draw_examples(examples: list[Example], canvas: FigureCanvas) -> str:
    """A row per patient, each channel axial and (of volumes) coronal, through the contour.

    Images of one slice and one channel are shown in a grid instead.

    Args:
        examples: Patients with the same channels.
        canvas: Saves the figure.

    Returns:
        The figure's file name.
    """
    views = _views(examples[0])
    if len(views) == 1:
        return _draw_grid(examples, canvas)
    height, width = 2.2 * len(examples) + 0.5, min(WIDTH, 1.2 + 2.1 * len(views))
    figure, axes = canvas.new(width, height, len(examples), len(views))
    for row, example in enumerate(examples):
        z, y, _ = focus(example)
        for column, view in enumerate(views):
            _panel(axes[row, column], example, view.channel, SlicePlane(view.axial, z if view.axial else y))
        label = {"fontsize": 8, "rotation": 0, "ha": "right", "va": "center", "labelpad": 4}
        axes[row, 0].set_ylabel(example.caption, **label)
    for column, view in enumerate(views):
        title = view.channel.upper() if view.channel in ("pet", "ct") else view.channel
        axes[0, column].set_title(f"{title}, {'axial' if view.axial else 'coronal'}")
    _legend(figure, examples)
    figure.tight_layout(h_pad=0.3, w_pad=0.3, rect=(0, 0.22 / height, 1, 1))
    return canvas.save(figure, "examples")


def _draw_grid(examples: list[Example], canvas: FigureCanvas) -> str:
    columns = min(3, len(examples))
    rows = -(-len(examples) // columns)
    shape = next(iter(examples[0].images.values())).shape
    relative_height = shape[1] / shape[2] * examples[0].aspect[0]
    width = max(4.8, WIDTH * columns / 4)
    height = rows * (width / columns * relative_height + 0.25) + 0.4
    figure, axes = canvas.new(width, height, rows, columns)
    for axis in axes.flat[len(examples) :]:
        axis.set_visible(False)
    for axis, example in zip(axes.flat, examples, strict=False):
        name = next(iter(example.images))
        _panel(axis, example, name, SlicePlane(axial=True, index=focus(example)[0]))
        axis.set_title(example.caption.replace("\n", ", "), fontsize=8, weight="normal")
    _legend(figure, examples)
    figure.tight_layout(h_pad=0.4, w_pad=0.4, rect=(0, 0.25 / height, 1, 1))
    return canvas.save(figure, "examples")


def _views(example: Example) -> list[View]:
    names = list(example.images)[:4]
    flat = example.images[names[0]].shape[0] == 1
    return [View(name, axial) for axial in ((True,) if flat else (True, False)) for name in names][:4]


def _panel(axis: Any, example: Example, name: str, plane: SlicePlane) -> None:
    axis.set(xticks=[], yticks=[])
    for side in axis.spines.values():
        side.set_visible(False)
    if name not in example.images:
        return
    low, high = window(name, example.images[name])
    axis.imshow(
        plane.of(example.images[name]), cmap="gray_r" if name == "pet" else "gray", vmin=low, vmax=high,
        interpolation="nearest", aspect=example.aspect[0 if plane.axial else 1],
    )  # fmt: skip
    for mask, colour, style in ((example.manual, MANUAL, "-"), (example.predicted, PREDICTED, "--")):
        if mask is None:
            continue
        labels = {number: class_colour(number) for number in range(1, len(example.classes) + 1)}
        for number, shade in (labels or {1: colour}).items():
            outline(axis, plane.of(mask == number if labels else mask > 0), shade, style)


def outline(axis: Any, mask: Mask, colour: str, style: str, width: float = 1.2) -> None:
    """Draw a mask's border."""
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        axis.contour(mask.astype(float), levels=[0.5], colors=colour, linewidths=width, linestyles=style)


def _legend(figure: Any, examples: list[Example]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    manual = any(e.manual is not None for e in examples)
    predicted = any(e.predicted is not None for e in examples)
    classes = next((e.classes for e in examples if e.classes), ())
    if classes:
        handles = class_handles(classes, manual, predicted)
    else:
        if manual:
            handles.append(Line2D([], [], color=MANUAL, label="contour of the study"))
        if predicted:
            handles.append(Line2D([], [], color=PREDICTED, ls="--", label="predicted, out of sample"))
    if handles:
        figure.legend(handles=handles, loc="lower right", ncols=max(2, len(handles)), fontsize=8)
