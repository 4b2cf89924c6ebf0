"""DeepSurv: networks on columns of numbers, a classical model in everything but its fit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings.base import Section
from pipeline.settings.classical import FeatureSelecting

Activation = Literal["relu", "selu"]


class DeepSurvNet(Section):
    """Layers and optimiser of one network on columns of numbers; DeepSurv's tuning draws them."""

    layers: int = Field(2, ge=1, le=6, description="Number of hidden layers.")
    nodes: int = Field(32, ge=1, le=512, description="Number of nodes of each hidden layer.")
    activation: Activation = Field("relu", description="Activation after each hidden layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout probability after each hidden layer.")
    batch_norm: bool = Field(False, description="Batch normalisation of each layer.")
    learning_rate: float = Field(0.01, gt=0, le=1, description="Adam's learning rate at the start.")
    decay: float = Field(
        0.0, ge=0, description="Decay of the learning rate: after e epochs it is divided by 1 + e · decay."
    )
    l2: float = Field(0.01, ge=0, description="Decoupled weight decay (AdamW).")


class DeepSurvModel(FeatureSelecting):
    """DeepSurv: a network on columns, its layers drawn at random, the best by inner cross-validation."""

    kind: Literal["deepsurv"] = "deepsurv"
    trials: int = Field(12, ge=1, le=200, description="Number of networks drawn from the ranges below.")
    inner_folds: int = Field(
        5, ge=2, le=10, description="Number of folds of the inner cross-validation for network and epochs."
    )
    epochs: tuple[int, ...] = Field(
        (25, 50, 100, 200),
        min_length=1,
        description="Numbers of epochs tried of each network; it is trained once and judged after each.",
    )
    members: int = Field(
        3,
        ge=1,
        le=50,
        description="Number of trainings of the chosen network from different seeds, whose log-hazards are "
        "averaged.",
    )
    layers: tuple[int, ...] = Field(
        (1, 2, 3), min_length=1, description="Numbers of hidden layers, of which one is drawn."
    )
    nodes: tuple[int, int] = Field(
        (16, 96), description="Least and largest number of nodes of each layer, drawn on a logarithmic scale."
    )
    activations: tuple[Activation, ...] = Field(
        ("relu", "selu"), min_length=1, description="Activations, of which one is drawn."
    )
    batch_norm: tuple[bool, ...] = Field(
        (False, True), min_length=1, description="Whether there is batch normalisation; one is drawn."
    )
    dropout: tuple[float, float] = Field((0.0, 0.3), description="Least and largest dropout probability.")
    learning_rate: tuple[float, float] = Field(
        (3e-3, 5e-2), description="Least and largest learning rate, drawn on a logarithmic scale."
    )
    decay: tuple[float, float] = Field(
        (1e-4, 1e-2),
        description="Least and largest decay of the learning rate per epoch, drawn on a logarithmic scale.",
    )
    l2: tuple[float, float] = Field(
        (1e-3, 0.3), description="Least and largest weight decay, drawn on a logarithmic scale."
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> DeepSurvModel:
        ranges = {
            "nodes": self.nodes,
            "dropout": self.dropout,
            "learning_rate": self.learning_rate,
            "decay": self.decay,
            "l2": self.l2,
        }
        for name, (low, high) in ranges.items():
            least = 0.0 if name == "dropout" else 1e-9
            if not least <= low <= high:
                raise ValueError(f"{name} must be two numbers above 0, the smaller first, got {low}, {high}")
        if self.dropout[1] >= 1:
            raise ValueError(f"dropout must stay below 1, got {self.dropout[1]}")
        if any(n < 1 for n in (*self.layers, *self.epochs)):
            raise ValueError("layers and epochs must be 1 or more")
        return self
