"""Figures of explanations: maps over the image, and the sanity check's curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 7
DPI = 110


def draw_maps(rows: Sequence[tuple[str, np.ndarray, dict[str, np.ndarray]]], path: Path) -> None:
    """A row per patient: the first channel, then maps in the slice where the image is brightest.

    Args:
        rows: Title, image (Z, Y, X), and maps (Z, Y, X) by name.
        path: PNG.
    """
    from matplotlib.figure import Figure

    names = _some(list(dict.fromkeys(name for _, _, maps in rows for name in maps)))
    figure = Figure(figsize=(1.7 * (len(names) + 1), 1.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(names) + 1, squeeze=False)
    for number, (line, (title, image, maps)) in enumerate(zip(axes, rows, strict=True)):
        at = int(np.unravel_index(int(np.argmax(image)), image.shape)[0])
        line[0].set_ylabel(title, fontsize=8)
        for axis, name in zip(line, ("image", *names), strict=True):
            axis.imshow(image[at], cmap="gray")
            if name in maps:
                most = float(np.abs(maps[name]).max()) or 1.0
                axis.imshow(maps[name][at], cmap="coolwarm", vmin=-most, vmax=most, alpha=0.5)
            axis.set_xticks([])
            axis.set_yticks([])
            if number == 0:
                axis.set_title(name, fontsize=6)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})


def draw_sanity(table: pd.DataFrame, limit: float, path: Path) -> None:
    """|ρ| of trained and randomised maps against the steps, one panel an order.

    Args:
        table: Of `explain.sanity_table`.
        limit: Above it a map is insensitive.
        path: PNG.
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


def _some(names: list[str]) -> list[str]:
    """At most seven names, spread evenly, the last one kept."""
    if len(names) <= MOST_COLUMNS:
        return names
    at = np.unique(np.linspace(0, len(names) - 1, MOST_COLUMNS).round().astype(int))
    return [names[i] for i in at]
