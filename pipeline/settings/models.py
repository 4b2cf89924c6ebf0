"""The base class of all models of a study: what each of them needs and gives.

A model's class registers itself by its `kind` when it is defined, so that the union of all models
(`pipeline.settings.kinds`), the generated documentation, the catalogue of networks and their shared
tests find it without a list of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.errors import SettingsError
from pipeline.settings.base import Section

Contour = Literal["manual", "threshold", "peritumoral", "predicted"]
"""What radiomics features are taken from."""
SURVIVAL = frozenset({"log_hazard", "interval_logits", "risk"})
"""Outputs that patients are ranked by."""
REGISTERED: dict[str, type[Model]] = {}
"""Class of each kind of model, in the order of definition."""


@dataclass(frozen=True)
class Needs:
    """What a model is given beside images, outcomes and columns of the cohort table.

    Attributes:
        features: Patterns of the names of radiomics features that the model is offered; empty: none.
        contour: What these features are taken from.
        contour_network: Model whose predicted contours they are taken from; empty: the study's contours.
        deep: Network whose deep features the model is offered as well; empty: none.
        min_icc: Least agreement of a feature over perturbed contours; 0: features are not filtered by it.
        manual_mask: Whether the manual mask is multiplied onto the image, so that every patient needs one.
    """

    features: tuple[str, ...] = ()
    contour: Contour = "manual"
    contour_network: str = ""
    deep: str = ""
    min_icc: float = 0.0
    manual_mask: bool = False

    @property
    def radiomics(self) -> bool:
        """Whether the model reads radiomics features at all."""
        return bool(self.features)


class Model(Section):
    """A model of a study; a class with a `kind` of its own is one that a study may name."""

    GIVES: ClassVar[frozenset[str]] = frozenset()
    """What the model predicts, whatever its settings."""
    is_network: ClassVar[bool] = False
    """Whether the model is trained on images by gradient descent."""
    is_linear: ClassVar[bool] = False
    """Whether the fitted risk is a weighted sum of columns, so that its coefficients are all of it."""

    kind: str = Field(description="Which model this is.")
    clinical: tuple[str, ...] = Field((), description="`clinical_*` columns of the cohort table offered.")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register a class that has a kind of its own."""
        super().__pydantic_init_subclass__(**kwargs)
        if "kind" not in cls.__annotations__:
            return
        kind = str(cls.model_fields["kind"].default)
        if kind in REGISTERED:
            raise TypeError(f"kind {kind!r} of {cls.__name__} is that of {REGISTERED[kind].__name__}")
        REGISTERED[kind] = cls

    @property
    def needs(self) -> Needs:
        """What the model is given beside images, outcomes and columns of the cohort table."""
        return Needs()

    def gives(self) -> frozenset[str]:
        """What the model predicts, as set."""
        return self.GIVES

    def ranks(self) -> bool:
        """Whether the model predicts survival, so that patients have a risk."""
        return bool(self.gives() & SURVIVAL)

    def columns(self) -> tuple[tuple[str, str], ...]:
        """(setting, column) of each column of the cohort table that the model names."""
        return tuple(("clinical", column) for column in self.clinical)


def read_model(values: Mapping[str, Any]) -> Model:
    """Settings of a model from plain values.

    Args:
        values: Settings, of a kind whose module was imported.

    Raises:
        SettingsError: There is no such kind.
    """
    kind = values.get("kind")
    if kind not in REGISTERED:
        raise SettingsError(f"unknown kind of model {kind!r}", expected=", ".join(REGISTERED))
    return REGISTERED[kind].model_validate(values)
