"""Metrics and report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.base import Section

Days = Annotated[float, Field(gt=0)]


class EvaluationSettings(Section):
    """What is measured, and how sure."""

    horizons_days: tuple[Days, ...] = Field(
        (365.25, 730.5, 1095.75), description="Times at which survival probabilities are judged."
    )
    curve_days: tuple[Days, ...] = Field(
        (),
        description="Further times at which survival is predicted; the report then draws each network's "
        "mean predicted survival beside what was observed.",
    )
    bootstraps: int = Field(
        1000, ge=100, le=100000, description="Resamples of patients; models are not refitted."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the intervals.")
    compare_with: str = Field(
        "", description="Model the others are compared with; empty: the first ensemble."
    )
    reference_model: str = Field(
        "",
        description="Model (e.g. the clinical one) over which the others' added value is tested by nested "
        "Cox models on held-out risks; empty: none.",
    )
    risk_groups: int = Field(2, ge=2, le=4, description="Kaplan–Meier groups, cut on training patients.")

    @property
    def predicted_days(self) -> tuple[float, ...]:
        """All times at which models predict survival, ascending."""
        return tuple(sorted({*self.horizons_days, *self.curve_days}))


class PublishedFigure(Section):
    """A number that a paper printed, shown beside what this study finds."""

    model: str = Field(description="Model of this study that remakes it.")
    metric: Literal["c_index", "dice"] = Field(description="What was measured.")
    set: Literal["train", "test", "external"] = Field(description="On which patients.")
    value: float = Field(ge=0, le=1, description="As printed.")
    sd: float | None = Field(None, ge=0, description="Standard deviation as printed, if there is one.")


class ReportSettings(Section):
    """What the report shows."""

    examples: int = Field(6, ge=1, le=24, description="Patients shown with slices and contours.")
    published: tuple[PublishedFigure, ...] = Field(
        (), description="A paper's numbers: `{model, metric, set, value, sd}`, shown beside this study's."
    )
    published_source: str = Field("", max_length=300, description="Where they were printed.")
