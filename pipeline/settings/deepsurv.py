"""One DeepSurv network; a study gives the ranges its tuning draws from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.base import Section

Activation = Literal["relu", "selu"]


class DeepSurvNet(Section):
    """Layers and optimiser of one network on columns of numbers."""

    layers: int = Field(2, ge=1, le=6, description="Hidden layers.")
    nodes: int = Field(32, ge=1, le=512, description="Nodes of each hidden layer.")
    activation: Activation = Field("relu", description="After each hidden layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of nodes left out after each layer.")
    batch_norm: bool = Field(False, description="Normalise each layer over the batch.")
    learning_rate: float = Field(0.01, gt=0, le=1, description="Of Adam, at the start.")
    decay: float = Field(
        0.0, ge=0, description="Learning rate after e epochs: the first one / (1 + e · decay)."
    )
    l2: float = Field(0.01, ge=0, description="Decoupled weight decay (AdamW).")
