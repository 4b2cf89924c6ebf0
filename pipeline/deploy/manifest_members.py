"""The members of a bundle as typed values: networks and linear models, fold by fold.

Every value is checked where it is read, so that a number which no study can have produced is refused
before a risk is computed from it. What is wrong is raised as `ValueError`, which pydantic reports
with the place of the value.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.settings.base import Section
from pipeline.settings.models import read_model
from pipeline.settings.training import TrainingSettings
from pipeline.tables.clinical import ClinicalEncoder


class Finite(Section):
    """A section without NaN and infinity."""

    model_config = ConfigDict(allow_inf_nan=False)


def require_ascending(values: Sequence[float], name: str, *, equal_allowed: bool = False) -> None:
    """Refuse numbers that do not rise.

    Raises:
        ValueError: A value is below the one before it, or, unless `equal_allowed`, equal to it.
    """
    if any(
        later < earlier or (later == earlier and not equal_allowed) for earlier, later in pairwise(values)
    ):
        raise ValueError(f"{name} must {'not fall' if equal_allowed else 'rise, each value once'}")


def unique_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse names that are empty or stand twice."""
    if len(set(values)) != len(values) or not all(values):
        raise ValueError("names must be given once each, and none may be empty")
    return values


def require_encoder(encoder: ClinicalEncoder) -> ClinicalEncoder:
    """Refuse an encoder whose columns are not each a number or a text, or whose SD is negative."""
    unique_names(encoder.order)
    both = set(encoder.numbers) & set(encoder.levels)
    if both or set(encoder.order) != set(encoder.numbers) | set(encoder.levels):
        raise ValueError("order must name each column of numbers and levels once")
    if any(not all(abs(v) < float("inf") for v in triple) for triple in encoder.numbers.values()):
        raise ValueError("median, mean and SD of a clinical column must be finite")
    if any(deviation < 0 for _, _, deviation in encoder.numbers.values()):
        raise ValueError("the SD of a clinical column must not be negative")
    for name, levels in encoder.levels.items():
        require_sorted_levels(levels, name)
    return encoder


def require_sorted_levels(levels: tuple[str, ...], name: str) -> None:
    """Refuse levels that are not sorted, or stand twice."""
    if list(levels) != sorted(set(levels)):
        raise ValueError(f"levels of {name} must be sorted, each once")


Names = Annotated[tuple[str, ...], AfterValidator(unique_names)]
Encoder = Annotated[ClinicalEncoder, AfterValidator(require_encoder)]
Channels = Annotated[tuple[Literal["pet", "ct"], ...], Field(min_length=1), AfterValidator(unique_names)]
# A network may have been trained on images of other kinds; a bundle's own are those above.
NetworkChannels = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(unique_names)]
Shape = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
Spacing = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


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


Member = Annotated[NetworkMember | LinearMember, Field(discriminator="type")]
