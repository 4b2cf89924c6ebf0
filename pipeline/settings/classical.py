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
    harmonise: Literal["none", "combat"] = Field(
        "none",
        description="ComBat by `centre`, learned from the fold's training patients; patients of a centre "
        "with fewer than three of them keep their values.",
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


class UnivariateCox(FeatureSelecting):
    """Cox on the one feature with the largest |C − 0.5| among training patients."""

    kind: Literal["univariate"] = "univariate"


class HecktorCox(FeatureSelecting):
    """The HECKTOR recipe inside training: best univariate features, correlation limit, Cox."""

    kind: Literal["hecktor_cox"] = "hecktor_cox"
    spearman: float = Field(1.0, gt=0, le=1, description="A filter before the recipe; 1: none, as the paper.")
    select_on: Literal["training", "inner"] = Field(
        "training",
        description="Where features and limit are chosen: within training patients, or (as the paper "
        "does, marked in every table) on the fold's inner validation patients.",
    )
    top: int = Field(20, ge=1, le=200, description="Features kept by univariate |C − 0.5|.")
    thresholds: tuple[float, ...] = Field(
        (0.6, 0.65, 0.7, 0.75, 0.8),
        min_length=1,
        description="Limits of |Pearson's r| between features; the best by inner cross-validation.",
    )
    inner_folds: int = Field(5, ge=2, le=10, description="Inner cross-validation for the limit.")
    ridge: float = Field(0.01, ge=0, description="Ridge penalty of the Cox model, see `clinical_cox`.")


class SurvivalForest(FeatureSelecting):
    """Random survival forest."""

    kind: Literal["rsf"] = "rsf"
    trees: int = Field(200, ge=10, le=5000, description="Trees.")
    min_leaf: int = Field(5, ge=1, description="Fewest patients in a leaf.")
    max_features: Literal["sqrt", "log2", "all"] = Field("sqrt", description="Features tried at a split.")


class BoostedCox(FeatureSelecting):
    """Gradient boosting of the Cox partial likelihood."""

    kind: Literal["gradient_boosting"] = "gradient_boosting"
    learner: Literal["tree", "componentwise"] = Field(
        "tree", description="Small regression trees, or one feature's least squares at a time (slower)."
    )
    rounds: int = Field(100, ge=10, le=5000, description="At most so many; chosen by inner cross-validation.")
    learning_rate: float = Field(0.1, gt=0, le=1, description="Share of each round that is added.")
    depth: int = Field(2, ge=1, le=6, description="Of trees.")
    subsample: float = Field(0.8, gt=0, le=1, description="Share of patients each round sees.")
    inner_folds: int = Field(5, ge=2, le=10, description="Inner cross-validation for the rounds.")


class SurvivalSvm(FeatureSelecting):
    """Linear survival support vector machine for ranking."""

    kind: Literal["survival_svm"] = "survival_svm"
    weights: tuple[float, ...] = Field(
        (1e-4, 1e-3, 1e-2, 1e-1),
        min_length=1,
        description="Weights of the loss against the margin; the best by inner cross-validation.",
    )
    inner_folds: int = Field(5, ge=2, le=10, description="Inner cross-validation for the weight.")


class SignedBagging(FeatureSelecting):
    """Bagged sign-weighted features, the outcome winner of HECKTOR 2022."""

    kind: Literal["signed_bagging"] = "signed_bagging"
    members: int = Field(200, ge=1, le=5000, description="Resamples of patients and features.")
    share: float = Field(0.5, gt=0, le=1, description="Share of the features each member sees.")
    min_distance: float = Field(
        0.0, ge=0, lt=0.5, description="A member leaves out features with |C − 0.5| below this."
    )


ClassicalModel = Annotated[
    ColumnModel
    | FeatureModel
    | ClinicalCox
    | LassoCox
    | UnivariateCox
    | HecktorCox
    | SurvivalForest
    | BoostedCox
    | SurvivalSvm
    | SignedBagging,
    Field(discriminator="kind"),
]
