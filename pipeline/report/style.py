"""The common style of all figures: colours, fonts, the study's note, and how they are saved."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Okabe & Ito's colours, distinct with the common kinds of colour blindness; black is for truth.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C00", "#5B5B5B")
INK, FAINT = "#1b2733", "#66737f"
WIDTH = 9.6
"""Width of a full-width figure in inches; the page shows it at its own size."""
NOTE_FONT_SIZE = 7.5
LETTERS_PER_INCH = 15.5
"""Letters of the note that fit into an inch; rather too few than too many."""


@dataclass(frozen=True)
class FigureCanvas:
    """Makes and saves figures, and prints the study's note on each of them.

    Attributes:
        folder: Receives `{name}.svg` and `{name}.png`.
        note: The study's warning, at the foot of each figure; may be empty.
        warning: What survival figures say above it, e.g. how few the events are.
    """

    folder: Path
    note: str
    warning: str = ""

    def new(self, width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Any:
        """A matplotlib figure (inches) with a grid of axes in the common style."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        plt.rcParams.update(MATPLOTLIB_STYLE)
        return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)

    def save(self, figure: Any, name: str) -> str:
        """Save as SVG and PNG, the same bytes each time; returns the SVG's name."""
        import matplotlib.pyplot as plt

        self.folder.mkdir(parents=True, exist_ok=True)
        for legend in figure.legends:
            # Anchored to the figure itself: otherwise it moves with the box that grows for the note.
            legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
        foot = self.foot(float(figure.get_size_inches()[0]))
        if foot:
            # Below the axes: the saved box grows to hold it, nothing is covered.
            figure.text(0.005, -0.012, foot, fontsize=NOTE_FONT_SIZE, color=FAINT, ha="left", va="top")
        figure.savefig(self.folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        figure.savefig(self.folder / f"{name}.png", dpi=160, metadata={"Software": None}, bbox_inches="tight")
        plt.close(figure)
        return f"{name}.svg"

    def foot(self, width: float) -> str:
        """Warning and note, wrapped to a figure's width (inches)."""
        letters = max(30, int(width * LETTERS_PER_INCH))
        return "\n".join(
            line for text in (self.warning, self.note) for line in textwrap.wrap(text, letters) if text
        )


MATPLOTLIB_STYLE = {
    "font.family": "sans-serif",
    # The SVG names the whole list, so that a reader without the first font gets a similar one.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 9,
    "text.color": INK,
    # A dollar sign in a title or note is a dollar sign.
    "text.parse_math": False,
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
