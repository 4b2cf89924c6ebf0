"""Sections of the page, each made from the files of a finished study.

A file that a study has no reason to write (no network, no radiomics, no registration) leaves its
part out.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.report import (
    caveats,
    feature_tables,
    flow,
    forests,
    head,
    learning_curves,
    probability_figures,
    qc_tables,
    roc_figures,
    survival_figures,
    tables,
    time_curves,
)
from pipeline.report.formatting import display_name, format_number
from pipeline.report.job import ReportJob
from pipeline.report.mask_classes import unresolved_distances
from pipeline.report.page import ExplainedNetwork, ReportContent
from pipeline.report.page_table import Table
from pipeline.report.recalibration import recalibrated, recalibration
from pipeline.report.style import FigureCanvas
from pipeline.tables.outcomes import has_outcomes, read_outcomes, resampled_unit
from pipeline.tables.parquet import read_frame
from pipeline.tables.splits import Splits, read_splits

if TYPE_CHECKING:
    import pandas as pd


DISCRIMINATION_NOTE = (
    "0.5 = chance, 1 = every pair in the right order. Pooled, and Uno’s C of development patients: pairs "
    "across folds too, by Z-scores. Uno’s C: pairs weighted for censoring. AUC: patients with an event by that "
    "time against those still without; over follow-up: its mean weighted by events (Lambert and Chevret 2016)."
)
CALIBRATION_NOTE = (
    "Brier: mean squared error of the predicted survival, lower is better. Skill: 1 − Brier / Brier of the "
    "set’s own Kaplan–Meier curve; above 0 is better than that curve. Observed/expected: events by that "
    "time divided by those predicted; above 1 the model predicted too few."
)
AGREEMENT_NOTE = (
    "Intercept: log ratio of observed to predicted cumulative hazard, 0 is ideal, above 0 the model predicted too few "
    "events. Slope: 1 is ideal, below 1 predictions are too far apart. ICI, E50, E90: mean, median and 90th percentile "
    "of the distance between predicted and smoothed observed event probability, 0 is ideal (Austin et al. 2020); "
    "they have no interval, as a resample's distance is always larger."
)
BASIS_NOTE = (
    "Patients (events) of each fold from which the slope and the baseline hazard come, all within the fold’s own "
    "training and validation patients. Slope: log-hazard per unit of the model’s risk; below 1 the log-hazards of a "
    "Cox-type model were spread too wide, at 0 all patients are given the same probability."
)
MASKS_NOTE = (
    "Dice: mean over patients, 1 = the same mask. Aggregated Dice: twice the voxels in both masks over those of the "
    "one and of the other, summed over patients (HECKTOR 2022); small lesions count less in it. "
    "HD95 (95th percentile of surface distance) and ASSD (mean "
    "surface distance): median over patients, lower is better."
)
VOXEL_NOTE = "A distance of one voxel of the crop or less is not resolved, and no result."
ADDED_VALUE_NOTE = (
    "Cox models on held-out risks: the risk of this model together with that of the other one, compared "
    "with that of the other one alone."
)
WORST_MASKS = 5
"""Patients that are named below the figure of Dice."""
EXPLAINED_OUTPUTS = {"risk": "risk", "label": "first label", "mask": "tumour probability"}


@dataclass(frozen=True)
class StudyResults:
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
    def read(cls, job: ReportJob) -> StudyResults:
        """Read the tables that every finished study has."""
        import pandas as pd

        return cls(
            job,
            read_outcomes(job.results / "cohort.parquet"),
            pd.read_csv(job.results / "metrics" / "metrics.csv"),
            read_splits(job.results / "splits.json"),
        )

    def set_sizes(self) -> dict[str, flow.SetSize]:
        """Numbers of patients and events by set."""
        return flow.set_sizes(self.cohort)

    def no_survival_reason(self) -> str:
        """Why there is no survival prediction to show; empty where there is one."""
        if self.job.survival_models():
            return ""
        reason = "No model of this study predicts survival"
        if not has_outcomes(self.cohort):
            reason = "The cohort table has no outcomes (time and event), so no model predicts survival"
        return f"{reason}: there is no C-index, no risk group, no Kaplan–Meier curve and no calibration."


def cohort(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Flow chart, patients, problems, and the facts at the head of the page."""
    import pandas as pd

    job = study.job
    problems = pd.read_csv(job.results / "problems.csv", keep_default_na=False, dtype=str)
    counted = flow.flow_of(study.cohort, problems, study.splits)
    content.add_figure("flow", flow.draw_flow(counted, canvas))
    patients = tables.cohort_table(study.cohort, job.settings.cohort.time_unit)
    content.add_table("cohort", Table("Patients", patients))
    for name, table in flow.problem_tables(problems).items():
        content.add_table(name, table)
    content.resampled = resampled_unit(study.cohort)
    content.facts = head.facts(study)
    content.verdict = head.study_verdict(study, counted)
    content.new_patient = head.new_patient(job)


def survival(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Scores of every model; of those that predict survival also differences, risk groups, calibration.

    All with their caveats; without a model that predicts survival, a sentence says what is left out.
    """
    import pandas as pd

    job, metrics = study.job, study.metrics
    content.caveats = shared = tuple(caveats.survival_caveats(job, metrics))
    settings = job.settings
    trained_on = tables.training_sizes(study.splits, study.cohort)
    times = (settings.evaluation.horizons_days, settings.cohort.time_unit)
    scores = tables.performance(metrics, *times, trained_on)
    masks = unresolved_distances(scores.masks, max(settings.crop.spacing_mm))
    note = MASKS_NOTE if settings.cohort.source in ("slices", "generated") else f"{MASKS_NOTE} {VOXEL_NOTE}"
    content.add_table("masks", Table("Masks of the networks", scores.masks, masks, note=note, caveats=shared))
    content.add_table("boxes", Table("Boxes of the networks", scores.boxes, caveats=shared))
    content.add_table("labels", Table("Class outcomes", scores.labels, caveats=shared))
    curves = pd.read_csv(job.results / "metrics" / "roc_curves.csv")
    content.add_figure("class_roc", roc_figures.draw_class_roc(curves, canvas))
    # Without outcomes the column of events is empty.
    listed = metrics if has_outcomes(study.cohort) else metrics.drop(columns="events")
    content.add_table("metrics", Table("All metrics", listed, caveats=shared))
    ensembles = caveats.ensemble_remarks(job.results, list(metrics["model"].unique()))
    content.remarks = [*caveats.model_remarks(job), *ensembles]
    content.no_survival_reason = study.no_survival_reason()
    if not content.no_survival_reason:
        content.few_events = caveats.few_events(study.set_sizes())
        _survival_scores(study, content, scores)
        warning = _warning(content.few_events, shared)
        _survival_figures(study, replace(canvas, warning=warning), content)


def _survival_scores(study: StudyResults, content: ReportContent, scores: tables.PerformanceTables) -> None:
    import pandas as pd

    job, folder = study.job, study.job.results / "metrics"
    shared = (*filter(None, [content.few_events]), *content.caveats)
    discrimination = Table("Discrimination", scores.discrimination, note=DISCRIMINATION_NOTE, caveats=shared)
    content.add_table("discrimination", discrimination)
    calibration = Table("Predicted probabilities", scores.calibration, note=CALIBRATION_NOTE, caveats=shared)
    content.add_table("calibration", calibration)
    title = "Calibration of predicted probabilities"
    agreement = Table(title, scores.agreement, note=AGREEMENT_NOTE, caveats=shared)
    content.add_table("agreement", agreement)
    content.recalibration = recalibration(job, study.metrics)
    content.add_table("recalibrated", recalibrated(job))
    basis = tables.probability_basis(job)
    title = "What predicted probabilities rest on"
    content.add_table("probability_basis", Table(title, basis, note=BASIS_NOTE, caveats=shared))
    comparisons = pd.read_csv(folder / "comparisons.csv")
    shown = tables.comparisons_on_page(comparisons)
    if len(shown):
        differences = Table("Differences between models", comparisons, shown, caveats=shared)
        content.add_table("comparisons", differences)
    added = tables.added_value_on_page(comparisons)
    content.add_table("added", Table("Added value", added, note=ADDED_VALUE_NOTE, caveats=shared))
    title = f"Risk groups of {display_name(job.headline)}"
    content.add_table("risk_groups", Table(title, tables.risk_groups(folder, job), caveats=shared))


def _survival_figures(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    import pandas as pd

    job, metrics, folder = study.job, study.metrics, study.job.results / "metrics"
    concordance = forests.draw_concordance(metrics, job.simulated_truths(), canvas)
    content.add_figure("concordance", concordance)
    comparisons = pd.read_csv(folder / "comparisons.csv")
    content.add_figure("differences", forests.draw_differences(comparisons, job.simulated_truths(), canvas))
    curves = pd.read_csv(folder / "km.csv")
    content.add_figure("kaplan_meier", survival_figures.draw_kaplan_meier(curves, metrics, job, canvas))
    over_time = pd.read_csv(folder / "time_curves.csv")
    content.add_figure("auc_over_time", time_curves.draw_auc_over_time(over_time, job, canvas))
    roc = pd.read_csv(folder / "roc_curves.csv")
    content.add_figure("roc", roc_figures.draw_event_roc(roc, job, canvas))
    bins = pd.read_csv(folder / "calibration.csv")
    smooth = pd.read_csv(folder / "calibration_curve.csv")
    content.add_figure("calibration", probability_figures.draw_calibration(bins, smooth, job, canvas))
    decisions = pd.read_csv(folder / "decision_curves.csv")
    content.add_figure("decisions", probability_figures.draw_decision_curves(decisions, job, canvas))


def _warning(few_events: str, shared: tuple[str, ...]) -> str:
    """What stands at the foot of survival figures."""
    caveat = f"Caveat: {'; '.join(shared)}." if shared else ""
    return " ".join(filter(None, (f"{few_events}." if few_events else "", caveat)))


def models(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Variables of linear models, and the radiomics features they were offered."""
    import pandas as pd

    chosen = feature_tables.chosen_variables(study.job)
    note = feature_tables.VARIABLES_NOTE
    shown = feature_tables.variables_on_page(chosen)
    content.add_table("variables", Table("Variables of the linear models", chosen, shown, note=note))
    if (path := study.job.features) is not None:
        content.add_table("radiomics", Table("Radiomics features", feature_tables.radiomics_overview(path)))
    importance = pd.read_csv(study.job.results / "metrics" / "importance.csv")
    shown = feature_tables.importance_on_page(importance)
    note = feature_tables.IMPORTANCE_NOTE
    content.add_table("importance", Table("Importance of columns", importance, shown, note=note))
    measured = pd.DataFrame() if study.job.stability is None else pd.read_csv(study.job.stability)
    if len(measured):
        shown = feature_tables.stability_summary(measured)
        title = "Stability of features under perturbed contours"
        table = Table(title, measured, shown, note=feature_tables.STABILITY_NOTE)
        content.add_table("stability", table)


def training(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Learning curves and cost of each network, and Dice by set."""

    job, masks = study.job, {}
    for model in job.networks():
        file = learning_curves.draw_history(learning_curves.read_histories(job, model), model, canvas)
        content.learning_curves += [file] if file else []
        table = read_frame(job.results / "ensemble" / f"{model}.parquet")
        if "dice" in table and table["dice"].notna().any():
            masks[model] = table
            lowest = table.dropna(subset=["dice"]).nsmallest(WORST_MASKS, "dice")
            found = zip(lowest["patient_id"].astype(str), lowest["dice"].astype(float), strict=True)
            content.lowest_dice = content.lowest_dice or dict(found)
    content.add_table("training", Table("Cost of training", learning_curves.training_cost(job)))
    content.add_figure("dice", learning_curves.draw_dice(masks, canvas))


def explanations(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Saliency maps of every explained network, and a table of what their randomisation test found."""
    import pandas as pd

    rows: list[dict[str, str]] = []
    for model in study.job.settings.explain.models:
        folder = study.job.results / "explain" / model
        info = json.loads((folder / "explain.json").read_text(encoding="utf-8"))
        canvas.folder.mkdir(parents=True, exist_ok=True)
        files = {name: f"explain_{model}_{name}.png" for name in ("maps", "sanity")}
        for name, file in files.items():
            shutil.copyfile(folder / f"{name}.png", canvas.folder / file)
        content.explanations.append(ExplainedNetwork(model, explained_output(info["target"]), **files))
        rows += _randomisation_rows(model, info["sanity"], pd.read_csv(folder / "sanity.csv"))
    title = "Maps of trained and of random weights"
    note = "Rank correlation (absolute), mean over patients, with every layer random."
    content.add_table("sanity", Table(title, pd.DataFrame(rows), note=note))


def explained_output(target: str) -> str:
    """What is explained, in words: `label_outcome` is the outcome."""
    return EXPLAINED_OUTPUTS.get(target) or display_name(target.removeprefix("label_"))


def _randomisation_rows(model: str, verdicts: dict[str, str], table: pd.DataFrame) -> list[dict[str, str]]:
    """A row per map: its rank correlation after the last step of the cascade, and the verdict."""
    cascade = table[table["order"] == "cascade"]
    last = cascade.sort_values("step").groupby("map").last()["rho_absolute"]
    return [
        {
            "model": display_name(model),
            "map": name,
            "rank_correlation": format_number(last[name], 2),
            "verdict": verdict,
        }
        for name, verdict in verdicts.items()
    ]


def quality_control(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """SUV and registration of every patient."""
    results = study.job.results
    suv = qc_tables.suv_table(study.job)
    content.add_table("suv", Table("SUV of every patient", suv, qc_tables.suv_on_page(suv)))
    registration = qc_tables.registration_table(study.job)
    if len(registration):
        shown = qc_tables.registration_on_page(registration)
        content.add_table("registration", Table("Registration of every patient", registration, shown))
        content.add_figure("registration", qc_tables.draw_registration(registration, canvas))
        overlays = qc_tables.copy_least_overlapping(results, registration, canvas.folder)
        content.registration_overlays = overlays
