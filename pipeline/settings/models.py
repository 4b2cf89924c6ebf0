"""Models: networks and classical ones, a discriminated union on `kind`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from pipeline.settings.classical import ClassicalModel
from pipeline.settings.network import Network
from pipeline.settings.networks import NetworkModel

ModelEntry = Annotated[NetworkModel | ClassicalModel, Field(discriminator="kind")]


def ranking(models: Mapping[str, Any]) -> tuple[str, ...]:
    """Models that give patients a risk: all classical ones, and networks that predict survival.

    Args:
        models: Name → a model's settings, as such or as plain values.
    """
    return tuple(name for name, model in models.items() if _ranks(model))


def _ranks(settings: Any) -> bool:
    model = _adapter().validate_python(settings) if isinstance(settings, Mapping) else settings
    return model.ranks() if isinstance(model, Network) else True


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(ModelEntry)
