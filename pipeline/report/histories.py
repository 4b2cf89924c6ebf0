"""Figures of training: losses, Dice and C-index against iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, Canvas, pretty

if TYPE_CHECKING:
    import pandas as pd

PANELS = (("loss", "Loss"), ("dice", "Dice"), ("c_index", "C-index"))


def read_histories(job: ReportJob, model: str) -> pd.DataFrame:
    """All folds' `history.csv` of a model, with a column fold."""
    import pandas as pd

    parts = [
        pd.read_csv(folder / "history.csv").assign(fold=number)
        for number, folder in enumerate(job.folds(model))
        if (folder / "history.csv").is_file()
    ]
    return pd.concat(parts, ignore_index=True)


def draw_history(history: pd.DataFrame, model: str, canvas: Canvas) -> str:
    """Training (thin) and inner validation (bold) values, a colour per fold, a panel per value."""
    panels = [(k, label) for k, label in PANELS if k in history and history[k].notna().any()]
    figure, axes = canvas.new(3.5 * len(panels), 3.0, 1, len(panels))
    for axis, (key, label) in zip(axes[0], panels, strict=True):
        for (fold, which), part in history.groupby(["fold", "set"], sort=True):
            values = part.dropna(subset=[key])
            if which not in ("train", "inner") or values.empty:
                continue
            bold = which == "inner"
            axis.plot(
                values["iteration"],
                values[key],
                color=COLOURS[int(fold) % len(COLOURS)],
                lw=1.8 if bold else 0.8,
                alpha=1.0 if bold else 0.55,
                marker="o" if bold else None,
                ms=3,
                label=f"fold {int(fold) + 1}" if bold else None,
            )
        axis.set(xlabel="Iteration")
        axis.set_title(label)
    axes[0, 0].legend(fontsize=8, title="bold: validation, thin: training", title_fontsize=7)
    figure.suptitle(pretty(model), x=0.01, ha="left", weight="bold", fontsize=10)
    figure.tight_layout()
    return canvas.save(figure, f"training_{model}")


def draw_dice(dice: pd.DataFrame, model: str, canvas: Canvas) -> str:
    """Each patient's Dice, a column per set, with the median."""
    sets = [s for s in ("external", "development") if s in set(dice["set"])]
    figure, axes = canvas.new(1.4 + 1.5 * len(sets), 3.0)
    axis = axes[0, 0]
    for x, name in enumerate(sets):
        values = dice.loc[dice["set"] == name, "dice"].dropna().sort_values().reset_index(drop=True)
        # Spread by rank: deterministic, and no point hides another.
        offsets = [(((i * 7) % 11) - 5) / 18 for i in range(len(values))]
        axis.scatter([x + o for o in offsets], values, s=14, color=COLOURS[0], alpha=0.6, lw=0)
        axis.plot([x - 0.36, x + 0.36], [values.median()] * 2, color=COLOURS[1], lw=2)
        axis.text(
            x, 1.03, f"median {values.median():.2f}", ha="center", va="bottom", fontsize=8, color=COLOURS[1]
        )
    axis.set_xticks(range(len(sets)), [s.capitalize() for s in sets])
    axis.set(ylim=(0, 1.12), ylabel="Dice of the predicted mask", xlim=(-0.6, len(sets) - 0.4))
    figure.tight_layout()
    return canvas.save(figure, f"dice_{model}")
