"""CLEAR and METRICS, item by item: what this report answers and where, and what only the authors can.

Sources: Kocak et al., CheckList for EvaluAtion of Radiomics research (CLEAR), Insights Imaging 2023; 14: 75, 58
items; Kocak et al., METhodological RadiomICs Score (METRICS), Insights Imaging 2024; 15: 8, 30 items in nine
categories. Items are named in our words. No score is computed: METRICS' weights ask for judgements that only a
reader can make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.report.checklist import AUTHORS, DONE, NOT_DONE, StudyKind

if TYPE_CHECKING:
    import pandas as pd

NOT_APPLICABLE = "does not apply"
COLUMNS = ["Item", "What it asks for", "State", "Where"]
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class RadiomicsKind:
    """What decides which items of the radiomics checklists the report answers.

    Attributes:
        study: Whether there are survival models, external patients, several centres, clinical columns.
        features: Whether handcrafted features are extracted.
        networks: Whether networks are trained on the images.
        masks: Whether a network draws contours.
        stability: Whether features were measured under perturbed contours, and unstable ones removed.
        redundant: Whether a model leaves out correlated features.
        explained: Whether attribution maps of a network are made.
        simple: Whether a simplest model stands beside the headline model.
        one_modality: Whether the images are of one modality.
    """

    study: StudyKind
    features: bool
    networks: bool
    masks: bool
    stability: bool
    redundant: bool
    explained: bool
    simple: bool
    one_modality: bool


def _when(condition: bool, place: str, otherwise: str = NOT_DONE, reason: str = "") -> tuple[str, str]:
    """State and place of an item that a study may or may not answer."""
    return (DONE, place) if condition else (otherwise, reason)


def clear(kind: RadiomicsKind) -> pd.DataFrame:
    """A row per item of CLEAR: number, what it asks for, state, place."""
    import pandas as pd

    rows = [
        *_CLEAR_FRONT,
        *_clear_data(kind),
        *_clear_features(kind),
        *_clear_models(kind),
        *_clear_results(kind),
    ]
    return pd.DataFrame([*rows, *_CLEAR_END], columns=COLUMNS)


def metrics_items(kind: RadiomicsKind) -> pd.DataFrame:
    """A row per item of METRICS: number, what it asks for, state, place."""
    import pandas as pd

    rows = [*_metrics_design(kind), *_metrics_features(kind), *_metrics_evaluation(kind)]
    return pd.DataFrame(rows, columns=COLUMNS)


_CLEAR_FRONT: tuple[Row, ...] = (
    ("1", "Title that names the radiomic method", AUTHORS, ""),
    ("2", "Structured abstract", AUTHORS, "numbers from Verdict"),
    ("3", "Keywords", AUTHORS, ""),
    ("4", "Background", AUTHORS, ""),
    ("5", "Why radiomics", AUTHORS, ""),
    ("6", "Objectives", AUTHORS, "the question stands in Verdict"),
    ("7", "Adherence to checklists", DONE, "For the paper: TRIPOD+AI, CLEAR, METRICS"),
    ("8", "Ethics and data protection", AUTHORS, ""),
    ("9", "Sample size", AUTHORS, "numbers learned from stand in Verdict"),
    ("10", "Kind of study (retrospective, prospective)", AUTHORS, ""),
    ("11", "Eligibility criteria", AUTHORS, "exclusions by the software: Cohort"),
    ("12", "Flow chart of the technical steps", AUTHORS, "the steps in words: Methods"),
    ("13", "Source of the data", AUTHORS, ""),
    ("14", "Overlap with earlier publications", AUTHORS, ""),
)
_CLEAR_END: tuple[Row, ...] = (
    ("49", "Overview of the findings", AUTHORS, "Verdict"),
    ("50", "Previous work", AUTHORS, ""),
    ("51", "Practical implications", AUTHORS, ""),
    ("52", "Strengths and limitations", AUTHORS, "what weakens the answer stands in Verdict"),
    ("53", "Images and segmentations shared (recommended)", AUTHORS, ""),
    ("54", "Feature values shared", AUTHORS, "radiomics/features.parquet of the results"),
    ("55", "Settings of preparation and extraction shared", AUTHORS, "the study's YAML file; Provenance"),
    ("56", "Source code of the models shared", DONE, "Provenance"),
    ("57", "Final models shared", AUTHORS, "a bundle holds them"),
    ("58", "Ready-to-use system shared (recommended)", AUTHORS, "a bundle and the command predict"),
)


def _clear_data(kind: RadiomicsKind) -> list[Row]:
    prepared = "Methods: Images, Alignment and crop" if kind.study.images else "Methods: Images"
    return [
        ("15", "How data were divided", DONE, "Methods: Validation"),
        ("16", "Imaging protocol", AUTHORS, "headers of each patient: index/ and suv/ of the results"),
        ("17", "Definition of non-radiomic predictors", AUTHORS, "their columns: Methods: each model"),
        ("18", "Definition of the outcome", AUTHORS, "its name and times stand in the report"),
        ("19", "Segmentation strategy", AUTHORS, "which contour was used: Methods"),
        ("20", "Who segmented", AUTHORS, ""),
        ("21", "Preparation of images", DONE, prepared),
        ("22", "Resampling", DONE, f"{prepared}; Radiomics" if kind.features else prepared),
        ("23", "Discretisation of grey levels", *_when(kind.features, "Methods: Radiomics", NOT_APPLICABLE)),
        ("24", "Types of images (filters)", *_when(kind.features, "Methods: Radiomics", NOT_APPLICABLE)),
    ]


def _clear_features(kind: RadiomicsKind) -> list[Row]:
    of_features = "Models: table of features"
    return [
        ("25", "How features were extracted", DONE, "Methods"),
        ("26", "Classes of features", *_when(kind.features, of_features, NOT_APPLICABLE)),
        ("27", "Number of features", *_when(kind.features, of_features, NOT_APPLICABLE)),
        ("28", "What kept its default", AUTHORS, "the settings' defaults: docs/configuration.md"),
        ("29", "Missing data", DONE, "Cohort; Methods: Preparation of columns"),
        (
            "30",
            "Imbalance of classes",
            *((DONE, "events of every set: Cohort") if kind.study.survival else (AUTHORS, "")),
        ),
        (
            "31",
            "Reliability of segmentations",
            *_when(kind.stability, "Models: Stability", reason="perturbed contours: min_icc of a model"),
        ),
        (
            "32",
            "Scaling of features",
            *_when(kind.features, "Methods: Preparation of columns", NOT_APPLICABLE),
        ),
        ("33", "Reduction of dimensions", *_when(kind.features, "Methods: each model", NOT_APPLICABLE)),
    ]


def _clear_models(kind: RadiomicsKind) -> list[Row]:
    testing = "Methods: Validation"
    return [
        ("34", "Algorithms", DONE, "Methods: each model; Provenance"),
        ("35", "Training and tuning", DONE, "Methods: each model; Cost of training"),
        ("36", "Confounders", AUTHORS, "by centre: harmonise, evaluation.subgroups"),
        ("37", "How the final model was chosen", DONE, "Methods: each model; Validation"),
        ("38", "Internal or external testing", DONE, testing),
        ("39", "Measures of performance", DONE, "Methods: Statistics"),
        ("40", "Uncertainty", DONE, "Methods: Statistics; intervals of every table"),
        ("41", "Comparison of models", DONE, "Methods: Statistics; Survival prediction: differences"),
        (
            "42",
            "Comparison with non-radiomic models, clinical use",
            *_when(
                kind.study.clinical and kind.study.survival,
                "Survival prediction: differences, decision curves",
            ),
        ),
        (
            "43",
            "Interpretability",
            *_when(
                kind.explained, "Explanations", reason="explain.models; evaluation.importance_permutations"
            ),
        ),
    ]


def _clear_results(kind: RadiomicsKind) -> list[Row]:
    return [
        ("44", "Characteristics of the patients", DONE, "Cohort: Patients"),
        ("45", "Flow chart of eligibility", DONE, "Cohort: flow chart; before the table: the authors"),
        (
            "46",
            "Statistics of the chosen features",
            *_when(kind.features, "Models: variables", NOT_APPLICABLE),
        ),
        (
            "47",
            "Performance of the models",
            DONE,
            "Survival prediction" if kind.study.survival else "Predictions",
        ),
        (
            "48",
            "Results beside non-radiomic and combined models",
            *_when(
                kind.study.clinical and kind.study.survival,
                "Survival prediction: differences, decision curves",
            ),
        ),
    ]


def _metrics_design(kind: RadiomicsKind) -> list[Row]:
    several = kind.study.several_centres
    return [
        ("1", "Adherence to checklists", DONE, "For the paper"),
        ("2", "Eligibility criteria of a representative population", AUTHORS, ""),
        ("3", "Reference standard of high quality", AUTHORS, ""),
        ("4", "Several centres", *_when(several, "Cohort", reason="the cohort table names one centre")),
        ("5", "Imaging that can be used in practice", AUTHORS, ""),
        ("6", "Imaging protocol with its parameters", AUTHORS, "headers of each patient: index/, suv/"),
        ("7", "Time between imaging and reference standard", AUTHORS, ""),
        ("8", "Segmentation described", AUTHORS, "which contour was used: Methods"),
        (
            "9",
            "Evaluation of automated segmentation",
            *_when(kind.masks, "Predictions: masks", NOT_APPLICABLE, "no network draws contours"),
        ),
        ("10", "Test contours of one reader or tool", AUTHORS, ""),
    ]


def _metrics_features(kind: RadiomicsKind) -> list[Row]:
    by_hand = "" if kind.features else "no handcrafted features"
    return [
        ("11", "Preparation of images", *_when(kind.features, "Methods: Radiomics", NOT_APPLICABLE, by_hand)),
        ("12", "Standardised software", *_when(kind.features, "Methods: Radiomics", NOT_APPLICABLE, by_hand)),
        (
            "13",
            "Parameters of extraction",
            *_when(kind.features, "Methods: Radiomics", NOT_APPLICABLE, by_hand),
        ),
        (
            "14",
            "Removal of features that are not robust",
            *_when(kind.stability, "Models: Stability", reason="min_icc"),
        ),
        (
            "15",
            "Removal of redundant features",
            *_when(
                kind.redundant, "Methods: each model", NOT_DONE if kind.features else NOT_APPLICABLE, by_hand
            ),
        ),
        (
            "16",
            "Dimensions that fit the number of patients",
            AUTHORS,
            "events per variable: remarks of models" if kind.study.survival else "",
        ),
        (
            "17",
            "Robustness of end-to-end networks",
            NOT_DONE if kind.networks else NOT_APPLICABLE,
            "" if kind.networks else "no network",
        ),
        ("18", "Division of the data", DONE, "Methods: Validation"),
        ("19", "Confounders", AUTHORS, "by centre: harmonise, evaluation.subgroups"),
    ]


def _metrics_evaluation(kind: RadiomicsKind) -> list[Row]:
    study = kind.study
    return [
        ("20", "Measures that suit the task", DONE, "Methods: Statistics"),
        ("21", "Uncertainty", DONE, "intervals of every table"),
        ("22", "Calibration", *_when(study.survival, "Survival prediction: calibration")),
        (
            "23",
            "One imaging modality, or proof that more are better",
            *_when(kind.one_modality, "Methods: Images"),
        ),
        (
            "24",
            "Comparison with a non-radiomic approach",
            *_when(study.clinical and study.survival, "Survival prediction: differences, added value"),
        ),
        ("25", "Comparison with simple models", *_when(kind.simple, "Verdict")),
        ("26", "Internal testing", DONE, "Methods: Validation"),
        (
            "27",
            "External testing",
            *_when(study.external, "external patients", reason="no external patients"),
        ),
        ("28", "Data available", AUTHORS, ""),
        ("29", "Code available", DONE, "Provenance"),
        ("30", "Model available", AUTHORS, "a bundle holds it"),
    ]
