"""Models: networks and classical ones, a discriminated union on `kind`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.settings.classical import ClassicalModel
from pipeline.settings.networks import NetworkModel

ModelEntry = Annotated[NetworkModel | ClassicalModel, Field(discriminator="kind")]
