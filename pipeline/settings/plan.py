"""Folds."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.settings.base import Section


class PlanSettings(Section):
    """How development patients are divided."""

    folds: int = Field(
        5,
        ge=1,
        le=20,
        description="Number of folds of the cross-validation; 1: there is none, all development patients are "
        "trained on, and only external patients are judged.",
    )
    repeats: int = Field(
        1,
        ge=1,
        le=20,
        description="With `folds: 1`: how often training is repeated, each time with other validation patients and "
        "other initial weights. With more folds: how often classical models are cross-validated, each time in other "
        "folds, of which the metrics give the spread of the C-index (AUC); networks are trained in the first ones.",
    )
    validation_fraction: float = Field(
        0.2,
        ge=0,
        lt=0.5,
        description="Share of a fold's non-test patients kept for validation "
        "inside the fold: they choose a network's epoch and shrink its survival probabilities; 0: none, and "
        "networks predict the same survival for all, which is marked in every table.",
    )
    by_centre: bool = Field(False, description="Whether the test patients of a fold are whole centres.")
    cross_parts: int = Field(
        2,
        ge=2,
        le=10,
        description="Parts a fold's training patients are dealt into where a classical model is offered "
        "deep features: a network is trained without each part, a model fitted on it.",
    )

    @property
    def runs(self) -> int:
        """How often each model is fitted: once a fold, or once a repeat where there is no fold."""
        return self.repeats if self.folds == 1 else self.folds

    @model_validator(mode="after")
    def _consistent(self) -> PlanSettings:
        if self.folds == 1 and self.by_centre:
            raise ValueError("by_centre holds out centres, and folds: 1 holds out nobody")
        if self.folds == 1 and self.validation_fraction == 0:
            raise ValueError(
                "folds: 1 holds out nobody, so validation_fraction must be above 0: validation patients choose "
                "the epoch and shrink survival probabilities"
            )
        return self
