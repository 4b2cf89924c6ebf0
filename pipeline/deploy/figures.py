"""Figures of a prediction's page: three planes of the crop with contours, and the survival curve of the folds."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.deploy.estimate import PatientCurve
from pipeline.deploy.manifest import TimeUnit
from pipeline.settings.base import DAYS_PER_MONTH
from pipeline.volumes.sides import side_letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.store.crops import Crop

CT_WINDOW_HU = (-160.0, 240.0)
LEAST_SUV_WINDOW, SUV_PERCENTILE = 5.0, 99.7
"""The PET's window ends at this percentile of the crop, at least at this SUV; it begins at 0."""
GIVEN, PREDICTED = "#1b9e77", "#d95f02"
"""Colours of the contour that was given (solid) and of the predicted one (dashed)."""
INK = "#b30000"
PLANES = (("axial", 0), ("coronal", 1), ("sagittal", 2))
"""Plane → the axis (z, y, x) that it is cut across."""
PANEL_INCHES, DPI = 2.5, 110
BAR_MM = (10.0, 20.0, 50.0, 100.0)
"""Lengths of the scale bar; the longest that is at most a third of a panel."""


@dataclass(frozen=True)
class CropView:
    """A crop without its margin, as it is drawn.

    Attributes:
        channels: Name of each channel (`pet`, `ct`).
        images: (C, Z, Y, X) SUV, HU.
        given: (Z, Y, X) labels of the contour that was given; None: none was.
        predicted: (Z, Y, X) labels of the predicted mask; None: no network segments.
        spacing_mm: Voxel size (z, y, x).
        sides: Letters at both ends of z, y and x; see :func:`pipeline.volumes.sides.side_letters`.
    """

    channels: tuple[str, ...]
    images: npt.NDArray[np.float32]
    given: npt.NDArray[Any] | None
    predicted: npt.NDArray[Any] | None
    spacing_mm: tuple[float, float, float]
    sides: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, crop: Crop, predicted: npt.NDArray[Any] | None) -> CropView:
        """Of a stored crop, and the predicted labels on it."""
        attributes, shape = crop.attributes, crop.inside.shape
        inner = tuple(
            slice(attributes.margin, n - attributes.margin) if n > 1 else slice(None) for n in shape
        )
        given = None if crop.mask is None else crop.mask[inner]
        return cls(
            attributes.channels,
            crop.image[(slice(None), *inner)],
            given if given is not None and given.any() else None,
            predicted,
            attributes.spacing_mm,
            side_letters(attributes.direction),
        )

    def centre(self) -> tuple[int, int, int]:
        """Voxel (z, y, x) of the contour's largest area along each axis; without one the highest uptake."""
        for mask in (self.given, self.predicted):
            if mask is not None and mask.any():
                areas = [(mask > 0).sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
                z, y, x = (int(area.argmax()) for area in areas)
                return z, y, x
        z, y, x = (int(i) for i in np.unravel_index(int(self.images[0].argmax()), self.images[0].shape))
        return z, y, x

    def drawn(self) -> tuple[str, ...]:
        """Which contours there are to see: `given`, `predicted`."""
        masks = {"given": self.given, "predicted": self.predicted}
        return tuple(name for name, mask in masks.items() if mask is not None and mask.any())


def window_of(channel: str, image: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Lowest and highest value that is drawn."""
    if channel == "ct":
        return CT_WINDOW_HU
    return 0.0, max(LEAST_SUV_WINDOW, float(np.percentile(image, SUV_PERCENTILE)))


def planes_png(view: CropView) -> str:
    """PNG (base64): a row per channel, three planes through the contour, with sides, scales and a bar of length."""
    from matplotlib.figure import Figure

    planes = PLANES if view.images.shape[1] > 1 else PLANES[:1]
    rows = len(view.channels)
    size = (PANEL_INCHES * len(planes) + 0.9, (PANEL_INCHES + 0.25) * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, len(planes), squeeze=False)
    for row, channel in zip(axes, view.channels, strict=True):
        image = view.images[view.channels.index(channel)]
        low, high = window_of(channel, image)
        for axis, (plane, across) in zip(row, planes, strict=True):
            shown = _draw_plane(axis, view, image, across, (low, high), channel)
            axis.set_title(f"{channel.upper()}, {plane}", fontsize=8)
        bar = figure.colorbar(shown, ax=list(row), shrink=0.85, pad=0.01)
        bar.set_label("SUV (g/mL)" if channel == "pet" else "HU", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return _png(figure)


def _draw_plane(
    axis: Any,
    view: CropView,
    image: npt.NDArray[np.float32],
    across: int,
    window: tuple[float, float],
    channel: str,
) -> Any:
    """One slice; the head is up in coronal and sagittal planes."""
    at = view.centre()[across]
    down, right = (a for a in range(3) if a != across)
    origin = "upper" if across == 0 else "lower"
    aspect = view.spacing_mm[down] / view.spacing_mm[right]
    low, high = window
    shown = axis.imshow(
        np.take(image, at, axis=across), cmap="gray_r" if channel == "pet" else "gray", vmin=low, vmax=high,
        origin=origin, aspect=aspect, interpolation="nearest",
    )  # fmt: skip
    for mask, colour, style in ((view.given, GIVEN, "solid"), (view.predicted, PREDICTED, "dashed")):
        cut = None if mask is None else np.take(mask, at, axis=across)
        if cut is not None and cut.any() and min(cut.shape) > 1:
            levels = np.arange(0.5, float(cut.max()))
            axis.contour(cut, levels=levels, colors=colour, linewidths=1.2, linestyles=style)
    axis.set(xticks=[], yticks=[])
    for place, letter in zip(((0.02, 0.5), (0.98, 0.5)), view.sides[right], strict=True):
        align = "left" if place[0] < 0.5 else "right"
        _write(axis, place, letter, size=9, ha=align, va="center")
    _draw_bar(axis, cut_width=image.shape[right], mm=view.spacing_mm[right])
    return shown


def _draw_bar(axis: Any, *, cut_width: int, mm: float) -> None:
    """A bar of known length at the lower left."""
    length = max((bar for bar in BAR_MM if bar <= cut_width * mm / 3), default=0.0)
    if not length:
        return
    share = length / (cut_width * mm)
    axis.plot([0.03, 0.03 + share], [0.035, 0.035], transform=axis.transAxes, color=INK, lw=2)
    _write(axis, (0.03, 0.05), f"{length / 10:g} cm", size=7, va="bottom")


def _write(axis: Any, place: tuple[float, float], text: str, *, size: int, **align: str) -> None:
    """Write on an image, with a white border, so that it is read on dark and on light."""
    from matplotlib.patheffects import withStroke

    border = [withStroke(linewidth=2, foreground="white")]
    axis.text(*place, text, transform=axis.transAxes, color=INK, fontsize=size, path_effects=border, **align)


def curve_png(curve: PatientCurve, unit: TimeUnit) -> str:
    """PNG (base64): the mean survival over time, and the band from the lowest to the highest fold."""
    from matplotlib.figure import Figure

    step, label = {"days": (DAYS_PER_MONTH, "Months"), "months": (DAYS_PER_MONTH, "Months")}.get(
        unit, (1.0, "Time")
    )
    time = curve.days / step
    figure = Figure(figsize=(5.2, 3.0), layout="constrained")
    axis = figure.subplots()
    if len(curve.by_fold) > 1:
        low, high = curve.by_fold.min(axis=0), curve.by_fold.max(axis=0)
        axis.fill_between(time, low, high, step="post", color=PREDICTED, alpha=0.2, lw=0)
    axis.step(time, curve.mean, where="post", color=PREDICTED, lw=1.8)
    axis.set(xlabel=label, ylabel="Event-free probability", ylim=(0, 1.02), xlim=(0, float(time[-1])))
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return _png(figure)


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode("ascii")
