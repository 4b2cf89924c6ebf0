"""DeepSurv (Katzman et al., BMC Med Res Methodol 2018; 18: 24): a Cox model whose risk is a network."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from pipeline.settings.deepsurv import DeepSurvNet


class DeepSurv(nn.Module):
    """Fully connected layers, then one linear node without bias.

    ::

        columns (B, K) → [linear → batch norm? → activation → dropout] × layers → log-hazard (B)

    A bias of the last node would cancel in the Cox likelihood.
    """

    def __init__(self, settings: DeepSurvNet, columns: int) -> None:
        super().__init__()
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        width = columns
        for i in range(settings.layers):
            parts[f"linear{i}"] = nn.Linear(width, settings.nodes)
            width = settings.nodes
            if settings.batch_norm:
                parts[f"norm{i}"] = nn.BatchNorm1d(width)
            selu = settings.activation == "selu"
            parts[f"activation{i}"] = nn.SELU() if selu else nn.ReLU()
            if settings.dropout > 0:
                # SELU keeps mean and variance only with its own kind of dropout (Klambauer 2017).
                parts[f"dropout{i}"] = (nn.AlphaDropout if selu else nn.Dropout)(settings.dropout)
        self.body = nn.Sequential(parts)
        self.head = nn.Linear(width, 1, bias=False)
        if settings.activation == "selu":
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")

    def forward(self, columns: Tensor) -> Tensor:
        """Log-hazard (B), higher = worse, of standardised columns (B, K)."""
        risk: Tensor = self.head(self.body(columns)).squeeze(-1)
        return risk


def build(settings: DeepSurvNet, columns: int) -> DeepSurv:
    """The network, initialised from torch's random state.

    Args:
        settings: Layers.
        columns: Number K of columns, at least 1.
    """
    return DeepSurv(settings, columns)
