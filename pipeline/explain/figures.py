"""Figures of explanations: maps over the image, and curves of the randomisation test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_COLUMNS = 7
"""Largest number of panels in a row."""
DPI = 110


@dataclass(frozen=True)
class PatientMaps:
    """A row of the figure of maps.

    Attributes:
        title: Text beside the row.
        image: (Z, Y, X) first channel of the image.
        maps: Maps (Z, Y, X) by name.
    """

    title: str
    image: NDArray[np.float32]
    maps: Mapping[str, NDArray[np.float32]]


def draw_maps(patients: Sequence[PatientMaps], path: Path) -> None:
    """Draw each patient's image and every map over it, in the slice of its brightest voxel.

    A patient with more maps than fit in a row has several rows.

    Args:
        patients: The rows.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    names = ["image", *dict.fromkeys(name for patient in patients for name in patient.maps)]
    columns = min(len(names), MOST_COLUMNS)
    lines = -(-len(names) // columns)  # of each patient: no level of the network is left out
    size = (1.7 * columns, 1.9 * lines * len(patients))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(lines * len(patients), columns, squeeze=False)
    for number, patient in enumerate(patients):
        block = axes[lines * number : lines * (number + 1)].ravel()
        block[0].set_ylabel(patient.title, fontsize=8)
        for place, axis in enumerate(block):
            if place >= len(names):
                axis.set_axis_off()
                continue
            _draw_slice(axis, patient, names[place])
            if number == 0 or lines > 1:
                axis.set_title(names[place], fontsize=6)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def _draw_slice(axis: Axes, patient: PatientMaps, name: str) -> None:
    """The image in the slice of its brightest voxel, with the map of this name over it, if there is one."""
    z = int(np.unravel_index(int(np.argmax(patient.image)), patient.image.shape)[0])
    axis.imshow(patient.image[z], cmap="gray")
    if name in patient.maps:
        values = patient.maps[name]
        limit = float(np.abs(values).max()) or 1.0
        axis.imshow(values[z], cmap="coolwarm", vmin=-limit, vmax=limit, alpha=0.5)
    axis.set_xticks([])
    axis.set_yticks([])


def draw_sanity(table: pd.DataFrame, limit: float, path: Path) -> None:
    """Draw |ρ| of trained and randomised maps against the steps, a panel per order.

    Args:
        table: Table of :func:`pipeline.explain.randomisation_test.sanity_table`.
        limit: |ρ| above which a map is called insensitive.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True, squeeze=False)[0]
    titles = {
        "cascade": "random from the output down to this step",
        "independent": "random in this step alone",
    }
    for axis, (order, title) in zip(axes, titles.items(), strict=True):
        part = table[table["order"] == order]
        for name, rows in part.groupby("map", sort=False):
            axis.plot(rows["step"], rows["rho_absolute"], marker="o", ms=3, lw=1, label=str(name))
        axis.axhline(limit, color="black", lw=0.8, ls="--")
        axis.set(title=title, xlabel="step", ylim=(0, 1.02))
        axis.title.set_fontsize(8)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("|rank correlation| with the trained map")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=5)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
