"""Classical models of a class outcome: one settings class each, fitted within the fold's training patients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.classical import FeatureSelecting


class LabelModel(FeatureSelecting):
    """A classical model that predicts a class outcome from radiomics features and clinical columns."""

    GIVES = frozenset({"labels"})

    label: str = Field(
        pattern=r"^label_\w+$",
        description="Column `label_*` of the cohort table that is predicted, with the classes 0, 1, …; its values may "
        "be stated in `cohort.labels`. Patients whose class is blank are not learned from.",
    )
    classes: int = Field(
        2,
        ge=2,
        le=20,
        description="Number of classes of the label. The order of more than two classes is not used.",
    )
    inner_folds: int = Field(
        5, ge=2, le=10, description="Number of folds of the inner cross-validation, stratified by class."
    )

    def columns(self) -> tuple[tuple[str, str], ...]:
        """Clinical columns and the label."""
        return (*super().columns(), ("label", self.label))

    @model_validator(mode="after")
    def _without_outcomes(self) -> LabelModel:
        if self.clinical_p < 1:
            raise ValueError("clinical_p is of a Cox model, and a class outcome has none: leave it at 1")
        if self.deep:
            raise ValueError("deep features are not offered to models of a class outcome: leave `deep` empty")
        return self


class LogisticModel(LabelModel):
    """Penalised logistic regression; of more than two classes, multinomial."""

    kind: Literal["logistic"] = "logistic"
    penalty: Literal["ridge", "lasso"] = Field(
        "ridge", description="Squared (ridge) or absolute coefficients (Lasso) of standardised columns."
    )
    strengths: tuple[float, ...] = Field(
        (0.01, 0.1, 1.0, 10.0),
        min_length=1,
        description="Inverse strengths of the penalty (C of scikit-learn), the strongest penalty first; the best by "
        "inner cross-validated log loss is taken.",
    )


class LabelForest(LabelModel):
    """Random forest of classification trees."""

    kind: Literal["label_forest"] = "label_forest"
    trees: int = Field(200, ge=10, le=5000, description="Number of trees in the forest.")
    min_leaf: int = Field(5, ge=1, description="Least number of patients in a leaf.")
    max_features: Literal["sqrt", "log2", "all"] = Field(
        "sqrt", description="Number of features tried at each split: square root, logarithm, or all."
    )


class LabelBoosting(LabelModel):
    """Gradient boosting of the logistic loss (of more than two classes, the multinomial one) by small trees."""

    kind: Literal["label_boosting"] = "label_boosting"
    rounds: int = Field(
        100,
        ge=5,
        le=5000,
        description="Largest number of boosting rounds; how many are kept is chosen by inner cross-validated log loss.",
    )
    learning_rate: float = Field(0.1, gt=0, le=1, description="Share of each round's tree that is added.")
    depth: int = Field(2, ge=1, le=6, description="Depth of each tree.")
    subsample: float = Field(
        0.8, gt=0, le=1, description="Share of the training patients drawn for each round."
    )
