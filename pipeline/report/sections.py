"""The page's sections, each from the files of a finished study; a file that a study has
no reason to write (no network, no radiomics, no registration) leaves its part out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.report import flow, forests, stability, tables
from pipeline.report import learning_curves as histories
from pipeline.report import qc_tables as audit
from pipeline.report import survival_figures as curves
from pipeline.report.formatting import known, pretty
from pipeline.report.job import ReportJob
from pipeline.report.page import ReportContent, Table
from pipeline.report.style import FigureCanvas
from pipeline.tables.outcomes import has_outcomes, read_outcomes
from pipeline.tables.splits import Splits, read_splits

if TYPE_CHECKING:
    import pandas as pd


RANKS = (
    "0.5 = chance, 1 = every pair in the right order. Pooled, and Uno’s C of development patients: pairs "
    "across folds too, by Z-scores. Uno’s C: pairs weighted for censoring. AUC: those with an event by that "
    "time against those still without."
)
SCORES = (
    "Brier: mean squared error of the predicted survival, lower is better. Skill: 1 − Brier / Brier of the "
    "set’s own Kaplan–Meier curve; above 0 is better than that curve. Observed/expected: events by that "
    "time over those predicted; above 1 the model foretold too few."
)
MASKS = (
    "Dice: mean over patients, 1 = the same mask. HD95 (95th percentile of surface distance) and ASSD (mean "
    "surface distance): median over patients, lower is better."
)


@dataclass(frozen=True)
class Source:
    """What most sections read.

    Attributes:
        job: The study.
        cohort: Outcomes of usable patients (`cohort.parquet`).
        metrics: `metrics.csv`.
        splits: `splits.json`.
    """

    job: ReportJob
    cohort: pd.DataFrame
    metrics: pd.DataFrame
    splits: Splits

    @classmethod
    def read(cls, job: ReportJob) -> Source:
        """Read the tables that every finished study has."""
        import pandas as pd

        return cls(
            job,
            read_outcomes(job.results / "cohort.parquet"),
            pd.read_csv(job.results / "metrics" / "metrics.csv"),
            read_splits(job.results / "splits.json"),
        )

    def sets(self) -> flow.Sets:
        """Set → (patients, events), events None without outcomes."""
        return flow.sets_of(self.cohort)

    def unranked(self) -> str:
        """Why there is no survival prediction to show; empty where there is one."""
        if self.job.ranked():
            return ""
        why = "No model of this study predicts survival"
        if not has_outcomes(self.cohort):
            why = "The cohort table has no outcomes (time and event), so no model predicts survival"
        return f"{why}: there is no C-index, no risk group, no Kaplan–Meier curve and no calibration."


def cohort(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """Flow chart, patients, problems, and the facts at the top."""
    import pandas as pd

    job = source.job
    problems = pd.read_csv(job.results / "problems.csv", keep_default_na=False, dtype=str)
    counted = flow.flow_of(source.cohort, problems, source.splits)
    content.draw("flow", flow.draw_flow(counted, canvas))
    content.tell("cohort", Table("Patients", tables.cohort_table(source.cohort, job.cohort.time_unit)))
    content.tell("problems", Table("Patients with problems", problems))
    content.lists["facts"] = facts(source)


def facts(source: Source) -> list[tuple[str, str]]:
    """(what, value) pairs for the head of the page."""
    sets, metrics, headline = source.sets(), source.metrics, source.job.headline
    found = [("patients analysed", str(sum(n for n, _ in sets.values())))]
    events = [count for _, count in sets.values() if count is not None]
    if events:
        found.append(("events", str(sum(events))))
    which = next(iter(forests.sets_in(metrics)), "development")
    rows = metrics[(metrics["set"] == which) & metrics["value"].notna()]
    mine = rows[(rows["model"] == headline) & (rows["metric"] == "c_index")]
    for row in mine.to_dict("records"):
        value = f"{row['value']:.3f}"
        if known(row["ci_low"]) and known(row["ci_high"]):
            value += f" ({row['ci_low']:.2f}–{row['ci_high']:.2f})"
        found.append((f"C-index of {pretty(headline)}, {which}", value))
    dice = rows[rows["metric"] == "dice"].sort_values("value", ascending=False)
    for row in dice.head(1).to_dict("records"):
        found.append((f"mean Dice of {pretty(str(row['model']))}, {which}", f"{row['value']:.2f}"))
    return found


def survival(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """Scores of every model, and of those that rank differences, risk groups and calibration.

    All with the marks they carry; without a model that ranks, a sentence says what is left out.
    """
    job, metrics = source.job, source.metrics
    content.marks = marks = tuple(tables.survival_marks(job, metrics))
    wide = tables.performance(metrics, job.evaluation.horizons_days, job.cohort.time_unit)
    content.tell("masks", Table("Masks of the networks", wide["masks"], note=MASKS, marks=marks))
    content.tell("boxes", Table("Boxes of the networks", wide["boxes"], marks=marks))
    content.tell("labels", Table("Class outcomes", wide["labels"], marks=marks))
    # Without outcomes the column of events is empty.
    listed = metrics if has_outcomes(source.cohort) else metrics.drop(columns="events")
    content.tell("metrics", Table("All metrics", listed, marks=marks))
    ensembles = tables.ensemble_remarks(job.results, list(metrics["model"].unique()))
    content.lists["remarks"] = [*tables.model_remarks(job), *ensembles]
    content.lists["unranked"] = [source.unranked()] if source.unranked() else []
    if not content.lists["unranked"]:
        _ranked(source, replace(canvas, warning=_foot(source, marks)), content, wide)


def _ranked(
    source: Source, canvas: FigureCanvas, content: ReportContent, wide: dict[str, pd.DataFrame]
) -> None:
    import pandas as pd

    job, metrics, folder = source.job, source.metrics, source.job.results / "metrics"
    unit, headline, marks = job.cohort.time_unit, job.headline, content.marks
    content.draw("concordance", forests.draw_concordance(metrics, job.truths(), canvas))
    content.tell("discrimination", Table("Discrimination", wide["discrimination"], note=RANKS, marks=marks))
    content.tell(
        "calibration", Table("Predicted probabilities", wide["calibration"], note=SCORES, marks=marks)
    )
    comparisons = pd.read_csv(folder / "comparisons.csv")
    content.draw("differences", forests.draw_differences(comparisons, canvas))
    shown = tables.comparisons_on_page(comparisons)
    content.tell("comparisons", Table("Differences between models", comparisons, shown, marks=marks))
    added = tables.added_value_on_page(comparisons)
    note = "Cox models on held-out risks: this model’s risk beside the other’s, against the other’s alone."
    content.tell("added", Table("Added value", added, note=note, marks=marks))
    look = (headline, job.evaluation.risk_groups, unit)
    km = pd.read_csv(folder / "km.csv")
    content.draw("kaplan_meier", curves.draw_kaplan_meier(km, metrics, look, canvas))
    title = f"Risk groups of {pretty(headline)}"
    content.tell("risk_groups", Table(title, tables.risk_groups(folder, job), marks=marks))
    bins = pd.read_csv(folder / "calibration.csv")
    content.draw("calibration", curves.draw_calibration(bins, headline, unit, canvas))


def _foot(source: Source, marks: tuple[str, ...]) -> str:
    marked = f"Marked: {'; '.join(marks)}." if marks else ""
    return " ".join(filter(None, (tables.few_events(source.sets()), marked)))


def models(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """Variables of linear models, and what radiomics offered."""
    note = (
        "Log-hazard ratios per standard deviation; positive = worse. Levels: against the most frequent "
        "one among the fold’s training patients, which may be another one in another fold."
    )
    chosen = tables.chosen_variables(source.job)
    content.tell("variables", Table("Variables of the linear models", chosen, note=note))
    features = source.job.results / "radiomics" / "features.parquet"
    if features.is_file():
        content.tell("radiomics", Table("Radiomics features", tables.radiomics_overview(features)))
    measured = stability.read_stability(source.job.results)
    if measured is not None and len(measured):
        shown = stability.stability_summary(measured)
        title = "Stability of features under perturbed contours"
        content.tell("stability", Table(title, measured, shown, note=stability.NOTE))


def training(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """Curves and cost of each network, and Dice by set."""
    import pandas as pd

    job = source.job
    drawn, masks = [], {}
    for model in job.networks():
        drawn.append(histories.draw_history(histories.read_histories(job, model), model, canvas))
        table = pd.read_parquet(job.results / "ensemble" / f"{model}.parquet")
        if "dice" in table and table["dice"].notna().any():
            masks[model] = table
    content.lists["training"] = [file for file in drawn if file]
    content.tell("training", Table("Cost of training", histories.training_cost(job)))
    content.draw("dice", histories.draw_dice(masks, canvas))


def audited(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """SUV and registration of every patient."""
    results = source.job.results
    suv = audit.suv_audit(results)
    content.tell("suv", Table("SUV of every patient", suv, audit.suv_on_page(suv)))
    quality = audit.registration_quality(results)
    content.lists["registration"] = []
    if len(quality):
        shown = audit.quality_on_page(quality)
        content.tell("registration", Table("Registration of every patient", quality, shown))
        content.draw("registration", audit.draw_quality(quality, canvas))
        content.lists["registration"] = audit.copy_worst(results, quality, canvas.folder)
