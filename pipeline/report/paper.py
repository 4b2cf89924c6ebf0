"""The page of the paper that a study repeats: its tables and figures, ours beside the printed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.report import paper_tables
from pipeline.report.formatting import display_name
from pipeline.report.learning_curves import read_histories
from pipeline.report.page import PaperPage, PaperPicture, ReportContent
from pipeline.report.page_table import Table, latex
from pipeline.report.paper_cells import read_tables
from pipeline.report.style import COLOURS, WIDTH, FigureCanvas
from pipeline.settings.paper import HistoryPanel, PaperFigure, PaperSettings

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.sections import StudyResults

STYLES = {"train": "-", "validation": "--"}
SETS = {"train": "training", "validation": "validation"}
TERMS = {"loss": "Loss", "cox": "Survival loss (Cox)", "dice": "Segmentation loss (Dice)"}
P_NOTE = (
    "Ours: difference of the two models on the same resamples of {resampled}; Holm: adjusted for all pairs that the "
    "study lists, within a metric and set. Published p-values are as printed, unadjusted."
)
FIGURES = {
    "predicted_survival": "predicted_survival",
    "examples": "examples",
    "kaplan_meier": "kaplan_meier",
}
"""What a figure shows → the report's own figure."""


def paper(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Fill the paper's page; it is the last section, since it shows figures of others."""
    settings = study.job.settings.paper
    if settings is None:
        return
    page = PaperPage(settings.source, settings.cohort, settings.note)
    if settings.tables:
        _tables(study, settings, page, content)
    for key, figure in settings.figures.items():
        page.pictures.append(PaperPicture(figure.title, tuple(_files(study, key, figure, canvas, content))))
    content.paper = page


def _tables(study: StudyResults, settings: PaperSettings, page: PaperPage, content: ReportContent) -> None:
    import pandas as pd

    cells = read_tables(settings, study)
    comparisons = pd.read_csv(study.job.results / "metrics" / "comparisons.csv")
    confidence = study.job.settings.evaluation.confidence
    for key, table in settings.tables.items():
        of_table = cells[cells["table"] == key]
        shown = paper_tables.printed_table(table, of_table)
        name = f"paper_{key}"
        note = paper_tables.table_note(table, of_table, confidence, content.resampled)
        entry = Table(table.title, of_table, paper_tables.flat(shown), note=note, caveats=content.caveats)
        content.add_table(name, entry)
        content.latex[name] = latex(shown)
        page.tables.append(name)
        if table.p_values:
            frame = paper_tables.p_value_table(table.p_values, comparisons)
            on_page = paper_tables.p_values_on_page(frame)
            left_out = paper_tables.p_values_left_out(frame)
            p_note = f"{P_NOTE.format(resampled=content.resampled)} {left_out}".rstrip()
            content.add_table(f"{name}_p", Table("P-values", frame, on_page, note=p_note))
            page.tables.append(f"{name}_p")


def _files(
    study: StudyResults, key: str, figure: PaperFigure, canvas: FigureCanvas, content: ReportContent
) -> list[str]:
    """Files of a figure; an empty list where this study has nothing to draw."""
    if figure.shows == "histories":
        file = draw_histories(study, key, figure.panels, canvas)
        return [file] if file else []
    if figure.shows == "explanations":
        return [network.maps for network in content.explanations]
    file = content.figures.get(FIGURES[figure.shows])
    return [file] if file else []


def draw_histories(
    study: StudyResults, key: str, panels: tuple[HistoryPanel, ...], canvas: FigureCanvas
) -> str | None:
    """Losses against iterations: a column per panel, a row per term, a colour per network.

    Lines are means over folds, of training batches solid, of validation patients dashed; bands ± SD over folds.

    Returns:
        The figure's file name, or None where no network has any of the terms.
    """
    terms = list(dict.fromkeys(term for panel in panels for term in panel.terms))
    names = dict.fromkeys(name for panel in panels for name in panel.models)
    histories = {name: read_histories(study.job, name) for name in names}
    figure, axes = canvas.new(
        max(4.5, min(WIDTH * 1.4, 3.2 * len(panels))), 2.9 * len(terms), len(terms), len(panels)
    )
    drawn = 0
    for column, panel in enumerate(panels):
        for row, term in enumerate(terms):
            axis = axes[row, column]
            if term not in panel.terms:
                axis.set_visible(False)
                continue
            for number, name in enumerate(panel.models):
                drawn += _draw_lines(axis, histories[name], (name, term), panel.sets, COLOURS[number])
            axis.set(xlabel="Iteration", ylabel=TERMS.get(term, display_name(term)))
            axis.set_title(panel.title)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=8)
    if not drawn:
        return None
    figure.tight_layout()
    return canvas.save(figure, f"paper_{key}")


def _draw_lines(
    axis: Any, history: pd.DataFrame, what: tuple[str, str], sets: tuple[str, ...], colour: str
) -> int:
    """Draw a network's term for each set; returns the number of lines."""
    name, term = what
    column = "loss" if term == "loss" else f"loss_{term}"
    if column not in history:
        return 0
    drawn = 0
    for which in sets:
        part = history[(history["set"] == which) & history[column].notna()]
        if part.empty:
            continue
        by_iteration = part.groupby("iteration")[column]
        mean, spread = by_iteration.mean(), by_iteration.std(ddof=1).fillna(0.0)
        label = f"{display_name(name)}, {SETS[which]}"
        axis.plot(mean.index, mean, color=colour, ls=STYLES[which], lw=1.3, label=label)
        axis.fill_between(mean.index, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
        drawn += 1
    return drawn
