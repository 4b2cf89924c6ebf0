"""Metrics and report."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings.base import Section


class EvaluationSettings(Section):
    """What is measured, and how sure."""

    horizons_days: tuple[float, ...] = Field(
        (365.25, 730.5, 1095.75), description="Times at which survival probabilities are judged."
    )
    bootstraps: int = Field(
        1000, ge=100, le=100000, description="Resamples of patients; models are not refitted."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the intervals.")
    compare_with: str = Field(
        "", description="Model the others are compared with; empty: the first ensemble."
    )
    added_value_over: str = Field(
        "",
        description="Model (e.g. the clinical one) over which the others' added value is tested by nested "
        "Cox models on held-out risks; empty: none.",
    )
    risk_groups: int = Field(2, ge=2, le=4, description="Kaplan–Meier groups, cut on training patients.")


class ReportSettings(Section):
    """What the report shows."""

    examples: int = Field(6, ge=1, le=24, description="Patients shown with slices and contours.")
