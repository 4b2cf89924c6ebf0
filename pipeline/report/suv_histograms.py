"""SUV of the crops by scanner: scanners that disagree, or a wrong scale, show as curves that lie apart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.report.style import COLOURS, WIDTH, FigureCanvas

EDGES = np.arange(0.0, 12.01, 0.25)
"""Cells of the histogram (SUV); what is higher counts in none and lowers the sum."""
MOST_SCANNERS = 6
"""Scanners with a curve of their own; the patients of all others share one."""
NOT_NAMED, OTHERS = "scanner not named", "other scanners"
LEAST_SHARE = 1e-5


@dataclass
class SuvHistograms:
    """Shares of imaged voxels by SUV, a histogram per patient.

    Attributes:
        by_scanner: Scanner → (cells,) shares of each of its patients.
    """

    by_scanner: dict[str, list[npt.NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, scanner: str, suv: npt.NDArray[Any]) -> None:
        """Add a patient's SUV in imaged voxels (any shape); nothing where there is none."""
        if suv.size:
            counts, _ = np.histogram(suv, EDGES)
            self.by_scanner[scanner or NOT_NAMED].append(counts / suv.size)

    def curves(self) -> list[tuple[str, int, npt.NDArray[np.float64]]]:
        """(scanner, patients, mean share by cell), scanners with the most patients first."""
        order = sorted(self.by_scanner, key=lambda name: (-len(self.by_scanner[name]), name))
        kept, rest = order[:MOST_SCANNERS], order[MOST_SCANNERS:]
        groups = {name: self.by_scanner[name] for name in kept}
        if rest:
            groups[f"{OTHERS} ({len(rest)})"] = [shares for name in rest for shares in self.by_scanner[name]]
        return [(name, len(shares), np.mean(shares, axis=0)) for name, shares in groups.items()]


def draw_suv_histograms(histograms: SuvHistograms, canvas: FigureCanvas) -> str | None:
    """A curve per scanner, its patients' mean, on a logarithmic axis; returns the file's name, None without PET."""
    curves = histograms.curves()
    if not curves:
        return None
    figure, axes = canvas.new(0.7 * WIDTH, 3.2)
    axis = axes[0, 0]
    for number, (name, patients, shares) in enumerate(curves):
        label = f"{name}: {patients} patient{'s' * (patients != 1)}"
        colour = COLOURS[number % len(COLOURS)]
        axis.stairs(np.maximum(shares, LEAST_SHARE), EDGES, color=colour, lw=1.5, label=label, baseline=None)
    axis.set(xlabel="SUV in the crop", ylabel="Share of voxels", yscale="log", xlim=(0, float(EDGES[-1])))
    axis.legend(fontsize=8)
    figure.tight_layout()
    return canvas.save(figure, "suv_by_scanner")
