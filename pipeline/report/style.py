"""One look for all figures: colours, fonts, the study's note, and how they are saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Okabe & Ito's colours, told apart with the common colour blindnesses; black is for truth.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00", "#5B5B5B")
INK, FAINT = "#1b2733", "#8a97a3"


@dataclass(frozen=True)
class Canvas:
    """Where figures go and what is printed on each of them.

    Attributes:
        folder: Receives `{name}.svg` and `{name}.png`.
        note: The study's warning, at the foot of each figure; may be empty.
    """

    folder: Path
    note: str

    def new(self, width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Any:
        """A matplotlib figure (inches) with axes in the common style."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        plt.rcParams.update(RC)
        return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)

    def save(self, figure: Any, name: str) -> str:
        """Save as SVG and PNG, the same bytes each time; returns the SVG's name."""
        import matplotlib.pyplot as plt

        self.folder.mkdir(parents=True, exist_ok=True)
        if self.note:
            figure.text(0.005, 0.002, self.note, fontsize=7, color=FAINT, ha="left", va="bottom", wrap=True)
        figure.savefig(self.folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        figure.savefig(self.folder / f"{name}.png", dpi=160, metadata={"Software": None}, bbox_inches="tight")
        plt.close(figure)
        return f"{name}.svg"


RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "suvival",
    "svg.fonttype": "none",
}


def pretty(name: str) -> str:
    """A model's or metric's name as words."""
    return name.replace("_", " ")
