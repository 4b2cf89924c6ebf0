"""Classical survival models: one settings class each, fitted within the fold's training patients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.models import Contour, Model, Needs


class ClassicalModel(Model):
    """What every classical model has; each is fitted within the fold's training patients."""

    GIVES = frozenset({"risk"})

    clinical: tuple[str, ...] = Field(
        (), description="`clinical_*` columns of the cohort table that the model is offered."
    )
    clinical_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Only clinical columns with a univariate Cox P below this among the fold's training "
        "patients are used; 1: all are (DeepMTS: 0.05).",
    )


class OnFeatures(ClassicalModel):
    """A classical model that is offered radiomics features."""

    contour: Contour = Field(
        "manual",
        description="What the features are taken from: the manual contour, its part above a share of "
        "SUVmax, the shell around it, or the contour that `contour_network` predicted.",
    )
    contour_network: str = Field(
        "",
        description="With contour `predicted`: model of this study that segments. Development patients get "
        "the contour of the fold that held them out, external patients that of each fold.",
    )

    @model_validator(mode="after")
    def _network_for_predicted(self) -> OnFeatures:
        if (self.contour == "predicted") != bool(self.contour_network):
            raise ValueError("contour_network belongs to contour `predicted`, and only there")
        return self


class FeatureSelecting(OnFeatures):
    """A classical model that selects among many radiomics features."""

    features: tuple[str, ...] = Field(
        ("*",), description="Patterns of the names of radiomics features offered; an empty list: none."
    )
    deep: str = Field(
        "",
        description="Network of this study whose deep features are offered as well, from networks trained "
        "without the patient (plan.cross_parts more trainings per fold); empty: none.",
    )
    spearman: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Of two features with |Spearman's ρ| above this among training patients, the one that "
        "stands earlier in the feature table stays; 1: all stay.",
    )
    harmonise: Literal["none", "combat"] = Field(
        "none",
        description="ComBat by `centre`, learned from the fold's training patients; patients of a centre "
        "with fewer than three of them keep their values.",
    )
    min_icc: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Least agreement of a feature over perturbed contours: lower end of the 95 % interval "
        "of ICC(1,1) among the fold's training patients; 0: features are not filtered by it.",
    )

    @property
    def needs(self) -> Needs:
        """Features of a contour, and maybe deep features and features of perturbed contours."""
        return Needs(
            features=self.features,
            contour=self.contour,
            contour_network=self.contour_network,
            deep=self.deep,
            min_icc=self.min_icc,
        )

    @model_validator(mode="after")
    def _perturbed_as_used(self) -> FeatureSelecting:
        if self.min_icc > 0 and self.contour not in ("manual", "predicted"):
            raise ValueError("min_icc is of whole contours: set contour: manual or predicted, or min_icc: 0")
        return self


class ColumnModel(ClassicalModel):
    """A column of the cohort table taken as the risk, unfitted (e.g. a phantom's true hazard)."""

    kind: Literal["column"] = "column"
    column: str = Field(description="Column of the cohort table; higher values are worse.")

    def columns(self) -> tuple[tuple[str, str], ...]:
        """Clinical columns and the one that is the risk."""
        return (*super().columns(), ("column", self.column))


class FeatureModel(OnFeatures):
    """One named radiomics feature in a univariate Cox model (e.g. tumour volume alone)."""

    is_linear = True
    kind: Literal["feature"] = "feature"
    feature: str = Field("pet_index_volume_ml", description="Column of the feature table.")
    log: bool = Field(True, description="Take the logarithm of the feature first.")

    @property
    def needs(self) -> Needs:
        """The one feature."""
        return Needs((self.feature,), contour=self.contour, contour_network=self.contour_network)


class ClinicalCox(ClassicalModel):
    """Cox proportional hazards on clinical columns alone."""

    is_linear = True
    kind: Literal["clinical_cox"] = "clinical_cox"
    ridge: float = Field(
        0.01,
        ge=0,
        description="Ridge penalty: half this times the squared coefficients of standardised columns is "
        "taken off the log partial likelihood. It keeps the coefficients of separated columns finite and "
        "hardly moves others.",
    )


class LassoCox(FeatureSelecting):
    """Correlation filter, then Lasso or elastic-net Cox, penalty by inner cross-validation."""

    is_linear = True
    kind: Literal["lasso_cox"] = "lasso_cox"
    l1_ratio: float = Field(
        1.0, gt=0, le=1, description="Share of the L1 penalty; 1: Lasso, less: elastic net."
    )
    inner_folds: int = Field(
        5, ge=2, le=10, description="Number of folds of the inner cross-validation for the penalty."
    )
    penalty_rule: Literal["min", "1se"] = Field(
        "min",
        description="Penalty with the best cross-validated partial likelihood, or the largest within "
        "one standard error of it.",
    )
    penalise_clinical: bool = Field(True, description="Penalise clinical columns like features.")


class UnivariateCox(FeatureSelecting):
    """Cox on the one feature with the largest |C − 0.5| among training patients."""

    is_linear = True
    kind: Literal["univariate"] = "univariate"


class HecktorCox(FeatureSelecting):
    """The HECKTOR recipe inside training: best univariate features, correlation limit, Cox."""

    is_linear = True
    kind: Literal["hecktor_cox"] = "hecktor_cox"
    spearman: float = Field(
        1.0, gt=0, le=1, description="Correlation filter before the recipe; 1: none, as in the paper."
    )
    select_on: Literal["training", "validation"] = Field(
        "training",
        description="Where features and limit are chosen: within training patients, or (as the paper "
        "does, marked in every table) on the fold's validation patients.",
    )
    top: int = Field(
        20, ge=1, le=200, description="Number of features kept, those of the largest univariate |C − 0.5|."
    )
    thresholds: tuple[float, ...] = Field(
        (0.6, 0.65, 0.7, 0.75, 0.8),
        min_length=1,
        description="Limits of |Pearson's r| between features; the best by inner cross-validation is taken.",
    )
    inner_folds: int = Field(
        5, ge=2, le=10, description="Number of folds of the inner cross-validation for the limit."
    )
    ridge: float = Field(0.01, ge=0, description="Ridge penalty of the Cox model, see `clinical_cox`.")


class SurvivalForest(FeatureSelecting):
    """Random survival forest."""

    kind: Literal["rsf"] = "rsf"
    trees: int = Field(200, ge=10, le=5000, description="Number of trees in the forest.")
    min_leaf: int = Field(5, ge=1, description="Least number of patients in a leaf.")
    max_features: Literal["sqrt", "log2", "all"] = Field(
        "sqrt", description="Number of features tried at each split: square root, logarithm, or all."
    )


class BoostedCox(FeatureSelecting):
    """Gradient boosting of the Cox partial likelihood."""

    kind: Literal["gradient_boosting"] = "gradient_boosting"
    learner: Literal["tree", "componentwise"] = Field(
        "tree", description="Small regression trees, or least squares on one feature at a time (slower)."
    )
    rounds: int = Field(
        100,
        ge=10,
        le=5000,
        description="Largest number of boosting rounds; how many are kept is chosen by inner "
        "cross-validation.",
    )
    learning_rate: float = Field(0.1, gt=0, le=1, description="Share of each round's learner that is added.")
    depth: int = Field(2, ge=1, le=6, description="Depth of each tree.")
    subsample: float = Field(
        0.8, gt=0, le=1, description="Share of the training patients drawn for each round."
    )
    inner_folds: int = Field(
        5, ge=2, le=10, description="Number of folds of the inner cross-validation for the rounds."
    )


class SurvivalSvm(FeatureSelecting):
    """Linear survival support vector machine for ranking."""

    kind: Literal["survival_svm"] = "survival_svm"
    weights: tuple[float, ...] = Field(
        (1e-4, 1e-3, 1e-2, 1e-1),
        min_length=1,
        description="Weights of the loss against the margin; the best by inner cross-validation is taken.",
    )
    inner_folds: int = Field(
        5, ge=2, le=10, description="Number of folds of the inner cross-validation for the weight."
    )


class SignedBagging(FeatureSelecting):
    """Bagged sign-weighted features, the outcome winner of HECKTOR 2022."""

    is_linear = True
    kind: Literal["signed_bagging"] = "signed_bagging"
    members: int = Field(
        200, ge=1, le=5000, description="Number of members, each from a resample of patients and features."
    )
    share: float = Field(0.5, gt=0, le=1, description="Share of the features that each member sees.")
    min_distance: float = Field(
        0.0, ge=0, lt=0.5, description="A member leaves out features with |C − 0.5| below this."
    )
