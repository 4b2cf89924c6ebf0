"""The head of the report: its numbers and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.report.flow import Flow
from pipeline.report.forests import sets_in
from pipeline.report.formatting import display_name, is_known
from pipeline.report.page import Fact
from pipeline.report.tables import training_sizes
from pipeline.report.verdict import Evaluated, Verdict, verdict
from pipeline.tables.outcomes import resampled_unit

if TYPE_CHECKING:
    from pipeline.report.job import ReportJob
    from pipeline.report.sections import StudyResults


def facts(study: StudyResults) -> list[Fact]:
    """Numbers for the head of the page: patients, events, the best scores of the first set."""
    sizes, metrics, headline = study.set_sizes(), study.metrics, study.job.headline
    shown = [Fact("patients analysed", str(sum(size.patients for size in sizes.values())))]
    events = [size.events for size in sizes.values() if size.events is not None]
    if events:
        shown.append(Fact("events", str(sum(events))))
    which = next(iter(sets_in(metrics)), "development")
    rows = metrics[(metrics["set"] == which) & metrics["value"].notna()]
    concordance = rows[(rows["model"] == headline) & (rows["metric"] == "c_index")]
    refused = metrics[
        (metrics["set"] == which) & (metrics["model"] == headline) & (metrics["metric"] == "c_index")
    ]
    for row in refused[refused["value"].isna()].to_dict("records"):
        shown.append(Fact(f"C-index of {display_name(headline)}, {which}", str(row["note"]).split(";")[0]))
    for row in concordance.to_dict("records"):
        value = f"{row['value']:.3f}"
        if is_known(row["ci_low"]) and is_known(row["ci_high"]):
            value += f" ({row['ci_low']:.2f}–{row['ci_high']:.2f})"
        shown.append(Fact(f"C-index of {display_name(headline)}, {which}", value))
    dice = rows[rows["metric"] == "dice"].sort_values("value", ascending=False)
    for row in dice.head(1).to_dict("records"):
        label = f"mean Dice of {display_name(str(row['model']))}, {which}"
        shown.append(Fact(label, f"{row['value']:.2f}"))
    return shown


def study_verdict(study: StudyResults, flow: Flow) -> Verdict | None:
    """The verdict on the headline model; None where nothing predicts survival."""
    import pandas as pd

    if study.no_survival_reason():
        return None
    evaluated = Evaluated(
        study.metrics,
        pd.read_csv(study.job.results / "metrics" / "comparisons.csv"),
        study.set_sizes(),
        learned_from(study),
        sum(flow.excluded.values()),
        flow.listed,
        resampled_unit(study.cohort),
    )
    return verdict(study.job, evaluated)


def learned_from(study: StudyResults) -> str:
    """What the models learned from, the beginning of a sentence."""
    applied = study.job.applied
    if applied is not None:
        return (
            f"The bundle learned from {applied.patients} patients ({applied.events} events) of the study "
            f"{applied.study}, and nothing was refitted"
        )
    folds = len(study.splits.folds)
    runs = "1 fold" if folds == 1 else f"each of {folds} folds"
    return f"Learned from {training_sizes(study.splits, study.cohort)} patients (events) in {runs}"


def new_patient(job: ReportJob) -> str:
    """What the headline model would have to be given of a new patient, in a sentence; empty without such a model."""
    settings, headline = job.settings, job.headline
    if not headline:
        return ""
    members = [settings.models[name] for name in settings.ensembles.get(headline, (headline,))]
    given = []
    if any(model.is_network or model.needs.radiomics for model in members):
        images = " and ".join(channel.upper() for channel in settings.crop.channels)
        given.append("the image" if settings.cohort.source in ("slices", "generated") else images)
    drawn = any(model.needs.radiomics and model.needs.contour != "predicted" for model in members)
    if drawn or any(model.needs.manual_mask for model in members):
        given.append("a contour of the lesion")
    columns = dict.fromkeys(column for model in members for _, column in model.columns())
    if columns:
        named = ", ".join(display_name(name.removeprefix("clinical_")) for name in columns)
        given.append(f"of the cohort table: {named}")
    return f"For a new patient {display_name(headline)} needs {'; '.join(given)}."
