"""Folds."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings.base import Section


class PlanSettings(Section):
    """How development patients are divided."""

    folds: int = Field(5, ge=2, le=20, description="Folds of the cross-validation.")
    inner_fraction: float = Field(
        0.2,
        ge=0,
        lt=0.5,
        description="Share of a fold's non-held-out patients kept for validation "
        "inside the fold (epoch, Z-scores, baseline hazard); 0: none, marked in every table.",
    )
    by_centre: bool = Field(False, description="Hold out whole centres.")
