"""The members of a bundle as typed values: networks, linear and logistic models, fold by fold.

Every value is checked where it is read, so that a number which no study can have produced is refused
before a risk is computed from it. What is wrong is raised as `ValueError`, which pydantic reports
with the place of the value.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.deploy.manifest_values import (
    Encoder,
    Finite,
    NetworkChannels,
    Shape,
    Spacing,
    require_ascending,
)
from pipeline.settings.base import Section
from pipeline.settings.models import read_model
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder


class ZScale(Finite):
    """Frozen Z-score of a member in a fold: Z = (risk − mean) / sd; 0 where sd is 0."""

    mean: float
    sd: float = Field(ge=0)


class BaselineHazard(Finite):
    """Breslow's cumulative baseline hazard, of log-hazard = slope · risk.

    Attributes:
        times_days: Distinct event times, ascending.
        cumulative_hazard: Hazard from each time on, never falling.
        centre: Log-hazard that the baseline hazard belongs to.
        last_days: End of follow-up; nothing is known later.
        slope: Log-hazard per unit of risk, never negative.
    """

    times_days: tuple[Annotated[float, Field(ge=0)], ...]
    cumulative_hazard: tuple[Annotated[float, Field(ge=0)], ...]
    centre: float
    last_days: float = Field(gt=0)
    slope: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _is_a_step_function(self) -> BaselineHazard:
        if len(self.times_days) != len(self.cumulative_hazard):
            raise ValueError("times_days and cumulative_hazard must have the same number of values")
        require_ascending(self.times_days, "times_days")
        require_ascending(self.cumulative_hazard, "cumulative_hazard", equal_allowed=True)
        if self.times_days and self.times_days[-1] > self.last_days:
            raise ValueError("last_days must not be before the last of times_days")
        return self


class NetworkDescription(Finite):
    """How a network is built and fed, from its checkpoint.

    Attributes:
        network: Settings of the network; only the class of its kind reads them.
        training: Settings it was trained with.
        channels: Channels of its images, in order.
        shape: Shape of its images (z, y, x).
        spacing_mm: Voxel size of its images (z, y, x).
        margin: Voxels stored beyond its images on each side.
        clinical: Encoder of the clinical columns.
        selection: Which iteration's weights these are.
    """

    network: dict[str, Any]
    training: TrainingSettings
    channels: NetworkChannels
    shape: Shape
    spacing_mm: Spacing
    margin: int = Field(ge=0)
    clinical: Encoder
    selection: dict[str, Any]


class NetworkFold(Finite):
    """A network of one fold: its weights' file, and all that is needed to build and run it.

    Attributes:
        weights: File of the bundle.
        description: How the network is built and fed.
        precision: Numbers it was trained in.
        scale: Its Z-score; None of a network that does not predict survival.
        hazard: Its baseline hazard; None of a network that does not predict survival or has no need of one.
    """

    weights: str
    description: NetworkDescription
    precision: Literal["bf16", "fp16", "fp32"]
    scale: ZScale | None = None
    hazard: BaselineHazard | None = None


class ScaledFeature(Finite):
    """A feature of a linear model: it enters as (x − mean) / sd, a missing value as the median."""

    name: str = Field(min_length=1)
    median: float
    mean: float
    sd: float = Field(gt=0)


class LinearFold(Finite):
    """A linear risk of one fold, Σ β·(x − mean)/SD.

    Attributes:
        coefficients: β of every feature and every encoded clinical column, 0 where it has no part.
        features: Features with their scaling.
        clinical: Encoder of the clinical columns.
        scale: Its Z-score.
        hazard: Its baseline hazard.
    """

    coefficients: dict[str, float]
    features: tuple[ScaledFeature, ...]
    clinical: Encoder
    scale: ZScale
    hazard: BaselineHazard

    @model_validator(mode="after")
    def _each_column_has_a_coefficient(self) -> LinearFold:
        columns = [*(feature.name for feature in self.features), *self.clinical.names()]
        if len(set(columns)) != len(columns):
            raise ValueError("a column stands twice among features and clinical columns")
        if differing := sorted(set(columns) ^ set(self.coefficients)):
            raise ValueError(
                f"coefficients must be those of features and clinical columns; differing: {differing[:3]}"
            )
        return self


class NetworkMember(Section):
    """A network, fold by fold."""

    type: Literal["network"] = "network"
    kind: str
    folds: tuple[NetworkFold, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_one_network(self) -> NetworkMember:
        require_kind(self.kind, network=True)
        for fold in self.folds:
            require_network_settings(self.kind, fold.description.network)
        survival = {fold.scale is not None for fold in self.folds}
        if len(survival) != 1:
            raise ValueError("either every fold has a Z-score or none")
        if any(fold.hazard is not None and fold.scale is None for fold in self.folds):
            raise ValueError("a fold with a baseline hazard needs a Z-score")
        return self

    def predicts_survival(self) -> bool:
        """Whether the network has a part in the risk."""
        return self.folds[0].scale is not None

    def encoders(self) -> list[ClinicalEncoder]:
        """Encoders of the clinical columns, by fold."""
        return [fold.description.clinical for fold in self.folds]


class LinearMember(Section):
    """A linear classical model, fold by fold; with `log` its feature enters as its logarithm."""

    type: Literal["linear"] = "linear"
    kind: str
    log: bool = False
    folds: tuple[LinearFold, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_linear(self) -> LinearMember:
        require_kind(self.kind, network=False)
        return self

    def predicts_survival(self) -> bool:
        """A linear risk is one of survival."""
        return True

    def encoders(self) -> list[ClinicalEncoder]:
        """Encoders of the clinical columns, by fold."""
        return [fold.clinical for fold in self.folds]


class LogisticFold(Finite):
    """A logistic regression of one fold: of class 1 against class 0, or of each of more than two classes.

    Attributes:
        intercepts: Class → its intercept: `1` alone, or all classes from `0`.
        log_odds_ratios: Class → β of every feature and every encoded clinical column, 0 where it has no part.
        features: Features with their scaling.
        clinical: Encoder of the clinical columns.
    """

    intercepts: dict[str, float]
    log_odds_ratios: dict[str, dict[str, float]]
    features: tuple[ScaledFeature, ...]
    clinical: Encoder

    @model_validator(mode="after")
    def _each_class_has_each_column(self) -> LogisticFold:
        classes = list(self.intercepts)
        if classes != ["1"] and (len(classes) < 3 or classes != [str(k) for k in range(len(classes))]):
            raise ValueError("classes must be 1 alone, or 0, 1, 2 and so on")
        if list(self.log_odds_ratios) != classes:
            raise ValueError("intercepts and log_odds_ratios must be of the same classes")
        columns = [*(feature.name for feature in self.features), *self.clinical.names()]
        if len(set(columns)) != len(columns):
            raise ValueError("a column stands twice among features and clinical columns")
        for of_class in self.log_odds_ratios.values():
            if differing := sorted(set(columns) ^ set(of_class)):
                raise ValueError(
                    f"log_odds_ratios must be those of features and clinical columns; differing: {differing[:3]}"
                )
        return self


class LogisticMember(Section):
    """A logistic regression of a class outcome, fold by fold."""

    type: Literal["logistic"] = "logistic"
    kind: Literal["logistic"] = "logistic"
    label: str = Field(pattern=r"^label_\w+$")
    folds: tuple[LogisticFold, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_of_one_label(self) -> LogisticMember:
        if len({tuple(fold.intercepts) for fold in self.folds}) != 1:
            raise ValueError("every fold must have the same classes")
        return self

    def predicts_survival(self) -> bool:
        """A class is not survival."""
        return False

    def encoders(self) -> list[ClinicalEncoder]:
        """Encoders of the clinical columns, by fold."""
        return [fold.clinical for fold in self.folds]


def require_kind(kind: str, *, network: bool) -> None:
    """Refuse a kind of model that this software does not have.

    Raises:
        ValueError: It has no network, or no linear model, of this kind.
    """
    # Imported by name: `code_digest` follows imports, and what predicts with one network is not to
    # count as changed code when the settings of another one change.
    kinds = importlib.import_module("pipeline.settings.kinds").KINDS
    fitting = [model for model in kinds if (model.is_network if network else model.is_linear)]
    known = sorted(model.model_fields["kind"].default for model in fitting)
    if kind not in known:
        what = "a network" if network else "a linear model"
        raise ValueError(f"kind {kind!r} is not {what} of this software, which has {', '.join(known)}")


def require_network_settings(kind: str, values: dict[str, Any]) -> None:
    """Refuse settings that are not those of a network of this kind.

    Raises:
        ValueError: They are of another kind, or their class refuses them.
    """
    if values.get("kind") != kind:
        raise ValueError(f"the settings of the network must be those of kind {kind!r}")
    try:
        read_model(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"settings of the network, {place}: {first['msg']}") from None


Member = Annotated[NetworkMember | LinearMember | LogisticMember, Field(discriminator="type")]
