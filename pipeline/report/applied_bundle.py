"""External validation by a bundle: what its page says of methods and provenance, where nothing was fitted."""

from __future__ import annotations

from pipeline.metrics.time_dependent import LEAST_EVENTS
from pipeline.provenance import versions
from pipeline.report.formatting import display_name
from pipeline.report.job import LIBRARIES, AppliedBundle, ReportJob
from pipeline.report.methods import image_paragraphs, statistics


def applied_methods(job: ReportJob, applied: AppliedBundle, *, grouped: bool) -> list[tuple[str, str]]:
    """Paragraphs (heading, text) that say how a bundle predicted the patients, and how it was judged.

    Args:
        job: The validation, whose settings are those that the bundle holds.
        applied: The bundle.
        grouped: Whether the cohort table's column `group` names patients that stay together.
    """
    settings, headline = job.settings, display_name(job.headline)
    folds = "the one fold" if applied.folds == 1 else f"all {applied.folds} folds"
    members = settings.ensembles.get(job.headline, (job.headline,))
    averaged = " and ".join(display_name(name) for name in members)
    validation = (
        f"The bundle {applied.identity[:12]} was made from {applied.patients} development patients "
        f"({applied.events} events) of the study {applied.study}. Its weights, coefficients, scaling, Z-scores, "
        "baseline hazards and cuts of the risk groups were applied as they are; nothing was fitted, chosen or scaled "
        "on the patients of this report. Whether they were among those it learned from cannot be seen from a bundle, "
        "which names nobody."
    )
    prediction = (
        f"The risk by {headline} is the mean of {averaged} over {folds}, each as the Z-score that the bundle froze; "
        "the survival probability is the mean of theirs."
    )
    excluded = (
        f"Patients whose data a stage refused were left out, with the reason. Below {LEAST_EVENTS} events nothing "
        "is estimated."
    )
    return [
        *image_paragraphs(settings),
        ("External validation", validation),
        ("Prediction", prediction),
        ("Exclusions", excluded),
        ("Statistics", statistics(settings, survival=True, grouped=grouped)),
    ]


def applied_provenance(job: ReportJob, applied: AppliedBundle) -> list[tuple[str, str]]:
    """(what, value) pairs; two reports that agree in them applied the same bundle with the same code."""
    installed = ", ".join(f"{name} {version}" for name, version in versions(*LIBRARIES).items())
    compared = (
        "the one that was expected" if applied.expected else "not compared with an expected one (--expect)"
    )
    return [
        ("Bundle", f"{applied.identity}, {compared}"),
        ("Made by", f"SUVival {applied.software}, from the study {applied.study}"),
        ("Patients in the cohort table", str(len(job.patients))),
        ("Seed of the bootstraps", str(job.settings.study.seed)),
        ("Code that predicted and judged", job.code),
        ("Installed where the report was made", installed),
    ]
