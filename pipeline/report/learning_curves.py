"""Figures of training: loss, Dice and C-index against iterations; Dice by set; cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.report.forests import SETS
from pipeline.report.formatting import display_name
from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, WIDTH, FigureCanvas

if TYPE_CHECKING:
    import pandas as pd

PANELS = (("loss", "Loss"), ("dice", "Dice"), ("c_index", "C-index"))
VALIDATION = {"validation": "validation", "test": "test fold (see caveats)"}


def read_histories(job: ReportJob, model: str) -> pd.DataFrame:
    """All folds' `history.csv` of a model, with a column fold."""
    import pandas as pd

    parts = [
        pd.read_csv(folder / "history.csv").assign(fold=number)
        for number, folder in enumerate(job.folds(model))
        if (folder / "history.csv").is_file()
    ]
    return pd.concat(parts, ignore_index=True)


def draw_history(history: pd.DataFrame, model: str, canvas: FigureCanvas) -> str | None:
    """Training (thin) and validation (bold) values, a colour per fold, a panel per value.

    Args:
        history: All folds' histories, see :func:`read_histories`.
        model: Name of the network.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where the history is empty.
    """
    panels = [(k, label) for k, label in PANELS if k in history and history[k].notna().any()]
    if not panels:
        return None
    figure, axes = canvas.new(max(2, len(panels)) * WIDTH / 3, 3.1, 1, len(panels))
    for axis, (key, label) in zip(axes[0], panels, strict=True):
        for (fold, which), part in history.groupby(["fold", "set"], sort=True):
            values = part.dropna(subset=[key]).sort_values("iteration")
            if len(values):
                _line(axis, values["iteration"], values[key], int(fold), validation=which != "train")
        axis.set(xlabel="Iteration")
        axis.set_title(label)
    watched = [title for name, title in VALIDATION.items() if name in set(history["set"])]
    title = f"{display_name(model)}   (thin: training" + (
        f", bold: {', '.join(watched)})" if watched else ")"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.legend(handles, labels, loc="lower center", ncols=min(len(labels), 10) or 1, fontsize=8)
    return canvas.save(figure, f"training_{model}")


def _line(axis: Any, x: pd.Series, y: pd.Series, fold: int, *, validation: bool) -> None:
    axis.plot(
        x, y, color=COLOURS[fold % len(COLOURS)], lw=1.8 if validation else 0.8,
        alpha=1.0 if validation else 0.5, marker="o" if validation else None, ms=3,
        label=f"run {fold + 1}" if validation else None,
    )  # fmt: skip


class DiceColumn(NamedTuple):
    """Dice of the patients of one set, sorted."""

    model: str
    set: str
    values: pd.Series


def draw_dice(tables: dict[str, pd.DataFrame], canvas: FigureCanvas) -> str | None:
    """Each patient's Dice, a column per network and set, with the median.

    Args:
        tables: Network → its ensemble table with columns set and dice.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where no Dice is known.
    """
    columns = [
        DiceColumn(model, name, table.loc[table["set"] == name, "dice"].dropna().sort_values())
        for model, table in tables.items()
        for name in SETS
        if "dice" in table
    ]
    columns = [column for column in columns if len(column.values)]
    if not columns:
        return None
    figure, axes = canvas.new(max(4.2, min(WIDTH, 1.0 + 1.4 * len(columns))), 3.4)
    axis = axes[0, 0]
    for x, (_, name, values) in enumerate(columns):
        colour = COLOURS[SETS.index(name)]
        # Spread by rank: reproducible, and no point hides another.
        offsets = [(((i * 7) % 11) - 5) / 18 for i in range(len(values))]
        axis.scatter([x + offset for offset in offsets], values, s=14, color=colour, alpha=0.6, lw=0)
        axis.plot([x - 0.36, x + 0.36], [values.median()] * 2, color="black", lw=1.6)
        axis.text(x, 1.03, f"{values.median():.2f}", ha="center", va="bottom", fontsize=8)
    labels = [f"{display_name(model)}\n{name}, n = {len(values)}" for model, name, values in columns]
    axis.set_xticks(range(len(columns)), labels, fontsize=8)
    axis.set(ylim=(0, 1.12), ylabel="Dice of the predicted mask", xlim=(-0.6, len(columns) - 0.4))
    axis.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    figure.tight_layout()
    return canvas.save(figure, "dice")


def training_cost(job: ReportJob) -> pd.DataFrame:
    """A row per network from its folds' `timing.json`: device, precision, time."""
    import pandas as pd

    rows = []
    for model in job.networks():
        paths = [f / "timing.json" for f in job.folds(model) if (f / "timing.json").is_file()]
        timings = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if timings:
            rows.append(
                {
                    "Model": display_name(model),
                    "Runs": len(timings),
                    "Device": ", ".join(sorted({str(t.get("name", t.get("device", "?"))) for t in timings})),
                    "Precision": ", ".join(sorted({str(t.get("precision", "?")) for t in timings})),
                    "Median ms per iteration": float(pd.Series([t["ms_per_step"] for t in timings]).median()),
                    "All runs, minutes": round(sum(t["seconds"] for t in timings) / 60, 2),
                }
            )
    return pd.DataFrame(rows)
