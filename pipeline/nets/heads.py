"""What image classifiers end in: labels, a log-hazard or interval logits, as the study asks."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from pipeline.errors import SettingsError
from pipeline.nets.blocks import Linear, at_least_float32, join_clinical
from pipeline.settings.losses import LossSettings

Outcome = Literal["label", "hazard", "intervals"]


def outcome_size(outcome: Outcome, losses: LossSettings) -> int:
    """Outputs of the last layer.

    Raises:
        SettingsError: Labels are asked for and none is named.
    """
    if outcome == "hazard":
        return 1
    if outcome == "intervals":
        return len(losses.interval_edges_days)
    if losses.logits == 0 or not losses.labels:
        raise SettingsError(
            "a network that predicts labels needs their names",
            where="losses.labels",
            expected="one label_* column or more",
            action="name the label_* columns in losses.labels",
        )
    return losses.logits


class OutcomeHead(nn.Module):
    """Dropout and a linear layer on features joined with clinical ones.

    Args:
        features: Size F of the feature vector.
        clinical: Number of clinical features.
        outcome: What the outputs are.
        losses: Names of labels, or edges of intervals.
        dropout: Before the layer.
    """

    def __init__(
        self, features: int, clinical: int, outcome: Outcome, losses: LossSettings, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.outcome, self.clinical = outcome, clinical
        self.last = Linear(features + clinical, outcome_size(outcome, losses))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, clinical: Tensor | None) -> dict[str, Tensor]:
        """The outcome's output and the features as they came, as ``deep_features``."""
        joined = join_clinical(self.dropout(features), clinical, self.clinical)
        values = at_least_float32(self.last(joined))
        outputs = {"deep_features": at_least_float32(features)}
        if self.outcome == "hazard":
            return {"log_hazard": values.squeeze(1), **outputs}
        return {"labels" if self.outcome == "label" else "interval_logits": values, **outputs}
