"""Multi-task 3D U-Net with a radiomics branch (Andrearczyk et al., section 2 and Figure 1).

The segmentation part is the squeeze-and-excitation-normalised U-Net that the paper builds on
(its reference 22, Iantsen et al. 2021), with fewer filters; how many the paper does not print:
8 to 128, the authors' later public code. The radiomics branch pools the bottleneck and the
skip connections of the contracting path.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import (
    Conv3d,
    Linear,
    at_least_float32,
    channels_last_on_cpu,
    global_mean,
    initialise,
    join_clinical,
)
from pipeline.nets.mask_head import MaskHead, mask_outputs
from pipeline.nets.pooling import MaxPool, resize_linear
from pipeline.nets.sizes import require_divisible
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.hecktor import Hecktor

LEVELS = 5
DIVISOR = 16
HIDDEN = 128
REDUCTION = 2


class SqueezeNorm(nn.Module):
    """Instance normalisation, γ·x + β with γ and β from the image itself (Iantsen et al. 2021, Figure 1).

    γ = σ(MLP(mean)), β = tanh(MLP(mean)), means over each channel, MLPs with half the channels
    hidden.
    """

    def __init__(self, filters: int) -> None:
        super().__init__()
        hidden = max(1, filters // REDUCTION)
        self.scale, self.shift = (
            nn.Sequential(nn.Linear(filters, hidden), nn.ReLU(), nn.Linear(hidden, filters)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape, (B, F, Z, Y, X)."""
        mean = global_mean(x)
        scale, shift = torch.sigmoid(self.scale(mean)), torch.tanh(self.shift(mean))
        shape = (*mean.shape, 1, 1, 1)
        x = x if x[0, 0].numel() == 1 else functional.instance_norm(x)
        return torch.addcmul(shift.view(shape).to(x.dtype), x, scale.view(shape).to(x.dtype))


class ConvReluNorm(nn.Sequential):
    """Convolution, ReLU, normalisation, in the order of Iantsen et al."""

    def __init__(self, inputs: int, filters: int, kernel: int, norm: str) -> None:
        normalise = SqueezeNorm(filters) if norm == "squeeze" else nn.BatchNorm3d(filters)
        super().__init__(Conv3d(inputs, filters, kernel, padding=kernel // 2), nn.ReLU(), normalise)


class ResidualConv(nn.Module):
    """A convolution plus its input, projected by 1×1×1 where the channels differ."""

    def __init__(self, inputs: int, filters: int, kernel: int, norm: str) -> None:
        super().__init__()
        self.conv = ConvReluNorm(inputs, filters, kernel, norm)
        self.project = nn.Identity() if inputs == filters else ConvReluNorm(inputs, filters, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, filters, Z, Y, X)."""
        return self.conv(x) + self.project(x)  # type: ignore[no-any-return]


def _encoder(in_channels: int, filters: Sequence[int], norm: str) -> nn.ModuleList:
    """Two residual convolutions, the first 7×7×7, then four times pooling and three."""
    first = nn.Sequential(
        ResidualConv(in_channels, filters[0], 7, norm), ResidualConv(filters[0], filters[0], 3, norm)
    )
    levels = [first]
    for below, width in pairwise(filters):
        convolutions = (ResidualConv(s, width, 3, norm) for s in (below, width, width))
        levels.append(nn.Sequential(MaxPool(2), *convolutions))
    return nn.ModuleList(levels)


class Decoder(nn.Module):
    """Transposed convolutions with skip connections; deep heads give side outputs at full resolution.

    A deep head is a 1×1×1 convolution on the output of a level below full resolution.
    """

    def __init__(self, filters: Sequence[int], norm: str, losses: LossSettings) -> None:
        super().__init__()
        widths = list(reversed(filters))
        pairs = list(pairwise(widths))
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(below, width, 3, stride=2, padding=1, output_padding=1)
            for below, width in pairs
        )
        self.join = nn.ModuleList(ConvReluNorm(2 * width, width, 3, norm) for _, width in pairs)
        self.refine = nn.ModuleList(ConvReluNorm(width, width, 3, norm) for _, width in pairs)
        self.deep_heads = nn.ModuleList(ConvReluNorm(width, filters[0], 1, norm) for _, width in pairs[:-1])
        self.probability = MaskHead(filters[0], losses)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Probabilities of `pipeline.nets.mask_head` from the encoder's outputs."""
        x, size = levels[-1], levels[0].shape[2:]
        side_outputs: list[Tensor] = []
        for number, skip in enumerate(reversed(levels[:-1])):
            x = self.join[number](torch.cat([self.up[number](x), skip], 1))
            if number == len(self.up) - 1:
                x = torch.stack([x, *side_outputs]).sum(0)
            x = self.refine[number](x)
            if number < len(self.deep_heads):
                side_outputs.append(resize_linear(self.deep_heads[number](x), size))
        return self.probability(x)  # type: ignore[no-any-return]


class RadiomicsBranch(nn.Module):
    """Global averages of all levels → dropout → 128 ReLU → dropout → 1 (section 2.2)."""

    def __init__(self, inputs: int, clinical: int, dropout: float) -> None:
        super().__init__()
        self.clinical = clinical
        self.hidden, self.last = Linear(inputs, HIDDEN), Linear(HIDDEN + clinical, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, clinical: Tensor | None) -> Tensor:
        """Log-hazard (B,), higher = worse."""
        hidden = functional.relu(self.hidden(self.dropout(features)))
        joined = join_clinical(self.dropout(hidden), clinical, self.clinical)
        return at_least_float32(self.last(joined).squeeze(1))  # type: ignore[no-any-return]


class HecktorNet(nn.Module):
    """Shared contracting path, segmentation and radiomics branches, either of them optional."""

    def __init__(self, settings: Hecktor, in_channels: int, clinical: int) -> None:
        super().__init__()
        filters = [settings.filters * 2**level for level in range(LEVELS)]
        self.encoder = _encoder(in_channels, filters, settings.norm)
        self.decoder = (
            Decoder(filters, settings.norm, settings.losses) if settings.task != "survival" else None
        )
        self.branch = (
            RadiomicsBranch(sum(filters), clinical, settings.dropout)
            if settings.task != "segmentation"
            else None
        )
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, DIVISOR, "hecktor")
        levels: list[Tensor] = []
        x = channels_last_on_cpu(image)
        for level in self.encoder:
            x = level(x)
            levels.append(x)
        outputs: dict[str, Tensor] = {}
        if self.decoder is not None:
            outputs |= mask_outputs(self.decoder(levels))
        if self.branch is not None:
            features = torch.cat([global_mean(x) for x in levels], 1)
            outputs["log_hazard"] = self.branch(features, clinical)
            outputs["deep_features"] = features
        return outputs


def build(settings: Hecktor, in_channels: int, clinical: int) -> HecktorNet:
    """The network with the branches that `task` names."""
    return HecktorNet(settings, in_channels, clinical)
