"""TRIPOD+AI, item by item: what this report answers and where, and what only the authors can.

Source: Collins et al., TRIPOD+AI statement, BMJ 2024; 385: e078378. Items are named in our words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

AUTHORS, DONE, NOT_DONE = "for the authors", "in this report", "not done"


@dataclass(frozen=True)
class StudyKind:
    """What decides which items the report answers.

    Attributes:
        survival: Whether a model predicts survival.
        external: Whether external patients were judged.
        images: Whether images were made from scanner files.
        several_centres: Whether the patients come from more than one centre.
        clinical: Whether a model reads clinical columns.
    """

    survival: bool
    external: bool
    images: bool
    several_centres: bool
    clinical: bool


def tripod_ai(kind: StudyKind) -> pd.DataFrame:
    """A row per item: number, what it asks for, state, place.

    Args:
        kind: What decides which items the report answers.
    """
    import pandas as pd

    rows = [*_FRONT, *_data(kind), *_methods(kind), *_results(kind), *_END]
    if not kind.survival:
        # There is no verdict where nothing predicts survival.
        rows = [(*row[:3], "" if "Verdict" in row[3] else row[3]) for row in rows]
    return pd.DataFrame(rows, columns=["Item", "What it asks for", "State", "Where"])


Row = tuple[str, str, str, str]
_FRONT: tuple[Row, ...] = (
    ("1", "Title: development or evaluation, population, outcome", AUTHORS, ""),
    ("2", "Abstract", AUTHORS, "numbers from Verdict"),
    ("3a–c", "Background, intended use and users, known inequalities", AUTHORS, ""),
    ("4", "Objectives", AUTHORS, "the question stands in Verdict"),
)
_END: tuple[Row, ...] = (
    ("25", "Interpretation, fairness included", AUTHORS, ""),
    ("26", "Limitations", AUTHORS, "what weakens the answer stands in Verdict"),
    ("27a–c", "Use in practice: poor input, expertise, next steps", AUTHORS, "model card of a bundle"),
)


def _data(kind: StudyKind) -> list[Row]:
    prepared = "Methods: Images, Alignment and crop" if kind.images else "Methods: Images"
    levels = "Methods: Preparation of columns" if kind.clinical else ""
    return [
        ("5a–b", "Sources and dates of the data", AUTHORS, ""),
        ("6a", "Setting and centres", AUTHORS, "numbers by centre in Cohort" if kind.several_centres else ""),
        ("6b", "Eligibility; who was left out", DONE, "Cohort: flow chart and problems"),
        ("6c", "Treatments", AUTHORS, ""),
        ("7", "Preparation of data and checks of quality", DONE, f"{prepared}; Quality control"),
        ("8a", "Outcome: definition and horizon", AUTHORS, "its name and times stand in the report"),
        ("8b–c", "How and by whom the outcome was assessed, blinding", AUTHORS, ""),
        (
            "9a–c",
            "Predictors: choice, definition, assessment",
            DONE,
            f"Methods: each model; Models; {levels}".rstrip("; "),
        ),
        ("10", "Sample size", AUTHORS, "numbers learned from stand in Verdict"),
        ("11", "Missing data", DONE, "Cohort; Methods: Preparation of columns"),
    ]


def _methods(kind: StudyKind) -> list[Row]:
    measures = "Methods: Statistics" if kind.survival else "All metrics"
    spread = "Cohort" if kind.several_centres else ""
    return [
        ("12a", "How data were used for development and evaluation", DONE, "Methods: Validation"),
        ("12b", "How predictors were handled", DONE, "Methods: Preparation of columns"),
        ("12c", "Kind of model, steps, tuning, internal validation", DONE, "Methods: each model; Validation"),
        ("12d", "Heterogeneity between clusters", DONE if kind.several_centres else NOT_DONE, spread),
        ("12e", "Measures of performance", DONE, measures),
        (
            "12f",
            "Model updating",
            DONE if kind.survival else NOT_DONE,
            "recalibration: Methods: Statistics" if kind.survival else "",
        ),
        ("12g", "How predictions were calculated", DONE, "Methods: Ensembles; model card of a bundle"),
        ("13", "Class imbalance", DONE, "Methods: how networks draw their batches"),
        ("14", "Fairness", AUTHORS, "metrics by subgroup: evaluation.subgroups"),
        ("15", "Output of the model; thresholds", DONE, "Methods: Statistics"),
        (
            "16",
            "Differences between training and evaluation",
            DONE if kind.external else NOT_DONE,
            "Cohort" if kind.external else "no external patients",
        ),
        ("17", "Ethical approval", AUTHORS, ""),
        ("18a–e", "Funding, conflicts, protocol, registration, data", AUTHORS, ""),
        ("18f", "Code", DONE, "Provenance"),
        ("19", "Involvement of patients and the public", AUTHORS, ""),
    ]


def _results(kind: StudyKind) -> list[Row]:
    external = DONE if kind.external else NOT_DONE
    intervals = "Survival: discrimination, calibration, decision curves" if kind.survival else "Predictions"
    return [
        ("20a", "Flow of patients, with outcomes and follow-up", DONE, "Cohort"),
        ("20b", "Characteristics, missing values included", DONE, "Cohort: Patients"),
        (
            "20c",
            "Comparison of development and evaluation patients",
            external,
            "Cohort: Patients" if kind.external else "no external patients",
        ),
        ("21", "Patients and outcomes in each analysis", DONE, "every table"),
        ("22", "The full model", DONE, "Models: variables; all of it in a bundle"),
        ("23a", "Performance with intervals", DONE, intervals),
        (
            "23b",
            "Heterogeneity of performance",
            NOT_DONE,
            "metrics by centre: evaluation.subgroups: [centre]",
        ),
        ("24", "Results of updating", NOT_DONE, ""),
    ]
