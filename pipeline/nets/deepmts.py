"""DeepMTS: joint survival prediction and tumour segmentation (Meng et al., section 3, Figures 2-4).

A segmentation backbone gives a tumour probability map and, from its encoder, the features of
the hard-sharing branch; a cascaded survival network (CSN) sees the image and the soft map;
both feed the head. The paper's degraded models (section 4.5) are the same parts left out.
Numbers the paper's figures hold were read from the authors' public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import (
    ConvNormRelu,
    Linear,
    UpsampleAndJoin,
    at_least_float32,
    channels_last_on_cpu,
    global_mean,
    initialise,
    join_clinical,
    masked,
)
from pipeline.nets.csn import SMALLEST_SIDE, CascadedSurvivalNetwork
from pipeline.nets.mask_head import MaskHead, mask_outputs
from pipeline.nets.pooling import MaxPool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.losses import LossSettings
from pipeline.settings.networks.deepmts import DeepMtsFamily

FILTERS = (8, 16, 32, 64, 128)
ENCODER_CONVOLUTIONS = (2, 2, 3, 3, 4)
DECODER_CONVOLUTIONS = (3, 3, 2, 2)
HEAD_NODES = 64
DIVISOR = 8
"""Three exact halvings; the fourth may round up (40 → 5 → 3), and its upsampling is cut to fit.
At multiples of 16, as in the paper, nothing is rounded."""


@dataclass(frozen=True)
class Parts:
    """Which parts of DeepMTS a model has."""

    decoder: bool = True
    """The upsampling branch and its probability map."""
    sharing: bool = True
    """Survival features from the encoder."""
    cascade: bool = True
    """The cascaded survival network."""
    projections: bool = True
    """1×1×1 convolutions between encoder blocks and pooling; the baseline MT-HS has none."""
    masked: bool = False
    """The manual mask multiplied onto the input."""


class ResidualBlock(nn.Module):
    """Convolutions with additive skips (section 3.1, Figure 3).

    x₀ = projection(input) with a 1×1×1 Conv–BN–ReLU; x₁ = conv(input) + x₀;
    xₖ₊₁ = conv(xₖ) + xₖ; every conv is 3×3×3 Conv–BN–ReLU and nothing follows an addition.
    """

    def __init__(self, inputs: int, filters: int, convolutions: int) -> None:
        super().__init__()
        self.projection = ConvNormRelu(inputs, filters, kernel=1)
        sources = (inputs, *[filters] * (convolutions - 1))
        self.convolutions = nn.ModuleList(ConvNormRelu(source, filters) for source in sources)

    def forward(self, x: Tensor) -> Tensor:
        """(B, filters, Z, Y, X) from (B, inputs, Z, Y, X)."""
        skip: Tensor = self.projection(x)
        for convolution in self.convolutions:
            skip = convolution(x, added=skip)
            x = skip
        return skip


class PlainBlock(nn.Sequential):
    """Two Conv–BN–ReLU of a plain 3D U-Net (section 5.3; Çiçek et al. 2016)."""

    def __init__(self, inputs: int, filters: int, convolutions: int) -> None:
        super().__init__(ConvNormRelu(inputs, filters), ConvNormRelu(filters, filters))


class Encoder(nn.Module):
    """Five levels, halved by max pooling between them."""

    def __init__(self, in_channels: int, filters: Sequence[int], block: type[nn.Module]) -> None:
        super().__init__()
        sources = (in_channels, *filters[:-1])
        self.levels = nn.ModuleList(
            block(source, width, number)
            for source, width, number in zip(sources, filters, ENCODER_CONVOLUTIONS, strict=True)
        )
        self.pool = MaxPool(2, ceil=True)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The output of each level, the first at full resolution."""
        outputs = [self.levels[0](image)]
        for level in self.levels[1:]:
            outputs.append(level(self.pool(outputs[-1])))
        return outputs


class Decoder(nn.Module):
    """Four levels: nearest upsampling, the encoder's tensor joined, a block; then the map."""

    def __init__(self, filters: Sequence[int], block: type[nn.Module], losses: LossSettings) -> None:
        super().__init__()
        widths = tuple(reversed(filters))
        self.levels = nn.ModuleList(
            block(below + width, width, number)
            for below, width, number in zip(widths[:-1], widths[1:], DECODER_CONVOLUTIONS, strict=True)
        )
        self.join = UpsampleAndJoin()
        self.probability = MaskHead(filters[0], losses)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Probabilities of `pipeline.nets.mask_head` from the encoder's outputs."""
        x = levels[-1]
        for level, skip in zip(self.levels, reversed(levels[:-1]), strict=True):
            x = level(self.join(x, skip))
        return self.probability(x)  # type: ignore[no-any-return]


class SharedFeatures(nn.Module):
    """Survival features of the encoder: 1×1×1 Conv–BN–ReLU to half the filters, global average.

    Without projections the encoder's outputs are averaged as they are (Table V, baseline MT-HS).
    """

    def __init__(self, filters: Sequence[int], projections: bool) -> None:
        super().__init__()
        sizes = [max(1, width // 2) for width in filters] if projections else list(filters)
        self.size = sum(sizes)
        self.projections = nn.ModuleList(
            ConvNormRelu(width, half, kernel=1) if projections else nn.Identity()
            for width, half in zip(filters, sizes, strict=True)
        )

    def forward(self, levels: list[Tensor]) -> Tensor:
        """(B, 124) at width 1."""
        pooled = [global_mean(project(x)) for project, x in zip(self.projections, levels, strict=True)]
        return torch.cat(pooled, 1)


class Head(nn.Module):
    """Each feature vector to 64 by dropout, linear, ReLU; joined with clinical features to the log-hazard."""

    def __init__(self, sizes: Sequence[int], clinical: int, dropout: float) -> None:
        super().__init__()
        self.clinical = clinical
        self.branches = nn.ModuleList(Linear(size, HEAD_NODES) for size in sizes)
        self.last = Linear(HEAD_NODES * len(sizes) + clinical, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: list[Tensor], clinical: Tensor | None) -> Tensor:
        """Log-hazard (B,), higher = worse."""
        hidden = [
            functional.relu(branch(self.dropout(vector)))
            for branch, vector in zip(self.branches, features, strict=True)
        ]
        joined = join_clinical(torch.cat(hidden, 1), clinical, self.clinical)
        return self.last(self.dropout(joined)).squeeze(1)  # type: ignore[no-any-return]

    def weights(self) -> list[Tensor]:
        """The weight matrices that L2 applies to (Eq. 1)."""
        return [branch.get_parameter("weight") for branch in (*self.branches, self.last)]


class DeepMts(nn.Module):
    """DeepMTS, or one of the models the paper makes from parts of it."""

    def __init__(self, settings: DeepMtsFamily, in_channels: int, clinical: int, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.map_gradient = settings.map_gradient
        self.name = settings.kind
        filters = [scaled(number, settings.width) for number in FILTERS]
        block: type[nn.Module] = ResidualBlock if settings.backbone == "deepmts" else PlainBlock
        has_encoder = parts.decoder or parts.sharing
        self.encoder = Encoder(in_channels, filters, block) if has_encoder else None
        self.decoder = Decoder(filters, block, settings.losses) if parts.decoder else None
        self.shared = SharedFeatures(filters, parts.projections) if parts.sharing else None
        self.csn = (
            CascadedSurvivalNetwork(in_channels + parts.decoder, settings.width, settings.dropout_csn)
            if parts.cascade
            else None
        )
        sizes = [part.size for part in (self.shared, self.csn) if part is not None]
        self.head = Head(sizes, clinical, settings.dropout_head) if sizes else None
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; `mask` is read only by the masked variants."""
        self._check(image)
        if self.parts.masked:
            image = masked(image, mask, self.name)
        image = channels_last_on_cpu(image)
        outputs: dict[str, Tensor] = {}
        features: list[Tensor] = []
        csn_input = image
        if self.encoder is not None:
            levels = self.encoder(image)
            if self.decoder is not None:
                probability = self.decoder(levels)
                outputs |= mask_outputs(probability)
                if self.csn is not None:
                    tumour_map = self._map_for_csn(probability[:, :1])
                    csn_input = torch.cat([image, tumour_map.to(image.dtype)], 1)
            if self.shared is not None:
                features.append(self.shared(levels))
        if self.csn is not None:
            features.append(self.csn(csn_input))
        if self.head is not None:
            outputs["log_hazard"] = at_least_float32(self.head(features, clinical))
            outputs["deep_features"] = torch.cat(features, 1)
        return outputs

    def _map_for_csn(self, probability: Tensor) -> Tensor:
        """The tumour map as input of the CSN: the same values, its gradient scaled by `map_gradient`."""
        share = self.map_gradient
        if share == 1.0:
            return probability
        return probability.detach() if share == 0.0 else torch.lerp(probability.detach(), probability, share)

    def _check(self, image: Tensor) -> None:
        divisor = DIVISOR if self.encoder is not None else 1
        require_divisible(image, divisor, self.name, SMALLEST_SIDE if self.csn is not None else 0)

    def penalised_weights(self) -> list[Tensor]:
        """The head's weight matrices; empty for the segmentation backbone alone."""
        return self.head.weights() if self.head is not None else []


def build(settings: DeepMtsFamily, in_channels: int, clinical: int) -> DeepMts:
    """DeepMTS with every part."""
    return DeepMts(settings, in_channels, clinical, Parts())
