"""What is measured, and what the report shows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.base import Section

Days = Annotated[float, Field(gt=0)]
ZScoreSource = Literal["training", "test"]
"""Patients of a fold whose risks' mean and SD make the Z-scores."""


class EvaluationSettings(Section):
    """What is measured, and how intervals are made."""

    horizons_days: tuple[Days, ...] = Field(
        (365.25, 730.5, 1095.75), description="Times at which survival probabilities are judged."
    )
    curve_days: tuple[Days, ...] = Field(
        (),
        description="Further times at which survival is predicted: the integrated Brier score takes them in, and the "
        "report draws each network's mean predicted survival beside the observed one.",
    )
    bootstraps: int = Field(
        1000,
        ge=100,
        le=100000,
        description="Number of bootstrap resamples of patients; models are not refitted.",
    )
    permutations: int = Field(
        199,
        ge=0,
        le=9999,
        description="Largest number of permutations, each a refit of everything, that test the risk groups of "
        "cross-validated patients (classical models that are quick to fit); 0: none, and no p-value.",
    )
    optimism_bootstraps: int = Field(
        0,
        ge=0,
        le=1000,
        description="Number of bootstrap resamples in which each classical model is refitted, selection and tuning "
        "included, to correct the C-index (AUC) of a model of all development patients for its optimism; 0: none.",
    )
    importance_permutations: int = Field(
        0,
        ge=0,
        le=100,
        description="Number of permutations of each column among test patients that measure its importance to each "
        "classical model, and to each network that predicts survival, of which whole image channels are exchanged as "
        "well; 0: none.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence level of the intervals.")
    compare_with: str = Field(
        "", description="Model or ensemble that the others are compared with; empty: the first ensemble."
    )
    comparisons: tuple[tuple[str, str], ...] = Field(
        (),
        description="Pairs of models or ensembles, `[[a, b], …]`, that are compared in every metric both have; the "
        "p-values of a metric and set are adjusted for all listed pairs (Holm).",
    )
    subgroups: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Columns of the cohort table (`centre`, `clinical_*`, `label_*`), in each of whose levels every "
        "metric is also given, with its number of patients.",
    )
    baseline_model: str = Field(
        "",
        description="Simplest model, e.g. tumour volume, that the model named by `compare_with` should beat: the "
        "report's verdict; empty: the first model of a single feature, else of clinical columns.",
    )
    reference_model: str = Field(
        "",
        description="Model, e.g. the clinical one, over which the others' added value is tested by nested Cox "
        "models on held-out risks; empty: none.",
    )
    z_scores: ZScoreSource = Field(
        "training",
        description="Patients whose risks' mean and SD make a fold's Z-scores: `training` (and validation) "
        "patients, out of sample where a model is cross-fitted; or `test` patients, as some papers do, "
        "marked in every table.",
    )
    risk_groups: int = Field(
        2,
        ge=2,
        le=4,
        description="Number of risk groups of the Kaplan–Meier curves; the cuts come from training patients.",
    )

    @property
    def predicted_days(self) -> tuple[float, ...]:
        """All times at which models predict survival, ascending."""
        return tuple(sorted({*self.horizons_days, *self.curve_days}))


class ReportSettings(Section):
    """What the report shows."""

    examples: int = Field(6, ge=1, le=24, description="Number of patients shown with slices and contours.")
    viewer: Literal["off", "crop", "full"] = Field(
        "crop",
        description="Whether each patient's page holds volumes for a viewer, of the crop (`crop`) or of the whole scan "
        "in voxels of 3 mm or more (`full`), or pictures only (`off`). A head in three dimensions can be recognised as "
        "a face: `off` where the images show one and the report is passed on.",
    )
