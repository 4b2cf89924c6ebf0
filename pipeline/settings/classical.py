"""One settings class per classical survival model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.base import Section


class Classical(Section):
    """What every classical model has; each is fitted within the fold's training patients."""

    clinical: tuple[str, ...] = Field((), description="`clinical_*` columns offered to the model.")
    clinical_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Of these, only columns with a univariate Cox P below this on the fold's training "
        "patients; 1: all (DeepMTS: 0.05).",
    )


class FeatureSelecting(Classical):
    """A classical model that is offered many radiomics features."""

    features: tuple[str, ...] = Field(("*",), description="Patterns of feature names offered.")
    spearman: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Of two features with |Spearman's ρ| above this on training patients, the one "
        "earlier in the feature table stays; 1: all stay.",
    )


class ColumnModel(Classical):
    """A column of the cohort table taken as the risk, unfitted (e.g. a phantom's true hazard)."""

    kind: Literal["column"] = "column"
    column: str = Field(description="Column of the cohort table; higher = worse.")


class FeatureModel(Classical):
    """One named radiomics feature in a univariate Cox model (e.g. tumour volume alone)."""

    kind: Literal["feature"] = "feature"
    feature: str = Field("pet_index_volume_ml", description="Column of the feature table.")
    log: bool = Field(True, description="Take the logarithm first.")


class ClinicalCox(Classical):
    """Cox proportional hazards on clinical columns alone."""

    kind: Literal["clinical_cox"] = "clinical_cox"
    ridge: float = Field(
        0.01,
        ge=0,
        description="Half this times the squared coefficients of standardised columns is taken off the "
        "log partial likelihood: keeps separated columns finite and hardly moves others.",
    )


class LassoCox(FeatureSelecting):
    """Correlation filter, then Lasso or elastic-net Cox, penalty by inner cross-validation."""

    kind: Literal["lasso_cox"] = "lasso_cox"
    l1_ratio: float = Field(1.0, gt=0, le=1, description="1: Lasso; less: elastic net.")
    inner_folds: int = Field(5, ge=2, le=10, description="Inner cross-validation for the penalty.")
    penalty_rule: Literal["min", "1se"] = Field(
        "min",
        description="Penalty with the best cross-validated partial likelihood, or the largest within "
        "one standard error of it.",
    )
    penalise_clinical: bool = Field(True, description="Clinical columns are shrunk like features.")


ClassicalModel = Annotated[ColumnModel | FeatureModel | ClinicalCox | LassoCox, Field(discriminator="kind")]
