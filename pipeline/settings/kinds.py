"""Every kind of model that a study may name, as one union."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from pipeline.settings import classical, deepsurv, label_models
from pipeline.settings.models import REGISTERED, Model, read_model
from pipeline.settings.network import Network
from pipeline.settings.networks import chest_ct, deepmts, disks, hecktor, pet_multiscale

MODULES = (deepmts, hecktor, pet_multiscale, disks, chest_ct, classical, deepsurv, label_models)
"""Modules whose classes register themselves as they are imported; a module of new networks joins here."""


def _place(model: type[Model]) -> int:
    """Place of a model's module: the order of the union is not to depend on who was imported first."""
    names = [module.__name__ for module in MODULES]
    return names.index(model.__module__) if model.__module__ in names else len(names)


KINDS: tuple[type[Model], ...] = tuple(sorted(REGISTERED.values(), key=_place))
"""Class of every kind of model."""
NETWORKS: tuple[type[Network], ...] = tuple(kind for kind in KINDS if issubclass(kind, Network))
"""Class of every kind of network."""

if TYPE_CHECKING:
    ModelEntry = Model
else:
    ModelEntry = Annotated[Union[KINDS], Field(discriminator="kind")]  # noqa: UP007
    """Settings of one model of a study; its key `kind` says which."""


def read_models(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Model]:
    """Settings of a study's models from plain values.

    Args:
        models: Name → settings of a model as plain values.
    """
    return {name: read_model(values) for name, values in models.items()}


def ranking(models: Mapping[str, Model]) -> tuple[str, ...]:
    """Names of the models that predict survival, and so rank patients by risk."""
    return tuple(name for name, model in models.items() if model.ranks())
