"""The W-network: one encoder, two decoders, classification and outcome (Amyar et al. 001, section 3.1).

Tasks and the sources of the outcome's features are switches, so that each of the 15 rows of
the paper's Table 1 is a configuration; `tasks: [segmentation]` alone is its U-Net (Table 2).
Levels count from 1 at full resolution; the text's "Level 3 to 5" is taken, the decoder's
levels are an option. The paper gives no input size: maps before the fully connected layers are
max-pooled to 4 × 4 × 4, which fits any.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from pipeline.nets.blocks import (
    Conv3d,
    Linear,
    at_least_float32,
    channels_last_on_cpu,
    global_mean,
    initialise,
    join_clinical,
    upsample_nearest,
)
from pipeline.nets.mask_head import mask_channels, mask_outputs, mask_probabilities
from pipeline.nets.pooling import MaxPool, adaptive_max_pool, max_pool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import WNet

FILTERS = (64, 128, 256, 512, 1024)
GLOBAL_LEVELS = (3, 4, 5)
DECODER_LEVELS = (3, 4)
GRID = 4
DIVISOR = 16
LOCAL_FILTERS = (64, 128)


def _conv(inputs: int, filters: int) -> nn.Sequential:
    return nn.Sequential(Conv3d(inputs, filters, 3, padding=1), nn.ReLU(inplace=True))


class Encoder(nn.Module):
    """Ten convolutions, max pooling after every two, dropout after the last (section 3.1.1)."""

    def __init__(self, in_channels: int, filters: list[int], dropout: float) -> None:
        super().__init__()
        sources = (in_channels, *filters[:-1])
        self.levels = nn.ModuleList(
            nn.Sequential(_conv(s, f), _conv(f, f)) for s, f in zip(sources, filters, strict=True)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The output of levels 1 to 5."""
        levels = [self.levels[0](image)]
        for level in self.levels[1:]:
            levels.append(level(max_pool(levels[-1], 2)))
        levels[-1] = self.dropout(levels[-1])
        return levels


class Decoder(nn.Module):
    """Upsampling, a convolution that halves the maps, the encoder's joined, two convolutions."""

    def __init__(self, filters: list[int], outputs: int) -> None:
        super().__init__()
        pairs = list(pairwise(reversed(filters)))
        self.halve = nn.ModuleList(_conv(below, width) for below, width in pairs)
        self.join = nn.ModuleList(
            nn.Sequential(_conv(2 * width, width), _conv(width, width)) for _, width in pairs
        )
        self.last = Conv3d(filters[0], outputs, 1)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, dict[int, Tensor]]:
        """The linear output (B, outputs, Z, Y, X) and the maps of levels 4 to 1."""
        x, maps = levels[-1], {}
        for number, (halve, join) in enumerate(zip(self.halve, self.join, strict=True)):
            level = len(levels) - 1 - number
            skip = levels[level - 1]
            x = join(torch.cat([halve(upsample_nearest(x, like=skip)), skip], 1))
            maps[level] = x
        return self.last(x), maps


class Classification(nn.Module):
    """Convolution, max pooling, flatten, dense 128 and 64 with ELU and dropout, one logit (section 3.1.5)."""

    def __init__(self, inputs: int, filters: int, logits: int, dropout: float) -> None:
        super().__init__()
        self.conv = _conv(inputs, filters)
        self.layers = nn.Sequential(
            Linear(filters * GRID**3, 128),
            nn.ELU(),
            nn.Dropout(dropout),
            Linear(128, 64),
            nn.ELU(),
            nn.Dropout(dropout),
            Linear(64, logits),
        )

    def forward(self, bottleneck: Tensor) -> Tensor:
        """Logits (B, L)."""
        pooled = adaptive_max_pool(self.conv(bottleneck), GRID)
        return self.layers(pooled.flatten(1))  # type: ignore[no-any-return]


class Outcome(nn.Module):
    """The prediction branch (section 3.1.6): local features of the segmentation, global ones by averages.

    Args:
        inputs: Number of global features; 0 leaves them out.
        local: Whether features are taken from the segmentation result.
        logits: Number of outputs of the last layer.
        clinical: Number of clinical features that join before the last layer (0 in the paper).
        width: Factor of the numbers of filters of the local part.
    """

    def __init__(self, inputs: int, local: bool, logits: int, clinical: int, width: float) -> None:
        super().__init__()
        self.clinical = clinical
        few, many = (scaled(number, width) for number in LOCAL_FILTERS)
        self.local = (
            nn.Sequential(_conv(1, few), _conv(few, few), MaxPool(2), _conv(few, many), _conv(many, many))
            if local
            else None
        )
        self.size = inputs + (many if local else 0)
        self.dense = nn.Sequential(Linear(self.size, 128), nn.ReLU(), Linear(128, 128), nn.ReLU())
        self.last = Linear(128 + clinical, logits)

    def forward(
        self, whole: list[Tensor], probability: Tensor | None, clinical: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, L) and the joined features (B, F)."""
        features = list(whole)
        if self.local is not None and probability is not None:
            features.append(global_mean(self.local(probability)))
        joined = torch.cat(features, 1)
        hidden = join_clinical(self.dense(joined), clinical, self.clinical)
        return self.last(hidden), joined


class WNetwork(nn.Module):
    """Encoder with any of reconstruction, segmentation, classification and prediction."""

    def __init__(self, settings: WNet, in_channels: int, clinical: int) -> None:
        super().__init__()
        self.settings = settings
        filters = [scaled(number, settings.width) for number in FILTERS]
        tasks = set(settings.tasks)
        self.encoder = Encoder(in_channels, filters, settings.dropout)
        self.reconstruct = Decoder(filters, in_channels) if "reconstruction" in tasks else None
        self.segment = Decoder(filters, mask_channels(settings.losses)) if "segmentation" in tasks else None
        self.classify = (
            Classification(filters[-1], filters[1], 1, settings.dropout)
            if "classification" in tasks
            else None
        )
        self.outcome = self._outcome(filters, clinical) if "prediction" in tasks else None
        initialise(self)

    def _outcome(self, filters: list[int], clinical: int) -> Outcome:
        settings = self.settings
        size = 0
        if settings.global_features:
            size += sum(filters[level - 1] for level in GLOBAL_LEVELS)
            if settings.decoder_features:
                size += sum(filters[level - 1] for level in DECODER_LEVELS)
        elif not settings.tumour_features:  # T3 & T4: neither source is ticked; the bottleneck is shared
            size = filters[-1]
        logits = 1
        return Outcome(size, settings.tumour_features, logits, clinical, settings.width)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; labels: classification first, then the outcome."""
        require_divisible(image, DIVISOR, "w_net")
        levels = self.encoder(channels_last_on_cpu(image))
        outputs: dict[str, Tensor] = {}
        labels: list[Tensor] = []
        probability, maps = None, {}
        if self.reconstruct is not None:
            outputs["reconstruction"] = at_least_float32(self.reconstruct(levels)[0])
        if self.segment is not None:
            logit, maps = self.segment(levels)
            probability = mask_probabilities(logit, self.settings.losses)
            outputs |= mask_outputs(probability)
            probability = probability[:, :1]
        if self.classify is not None:
            labels.append(at_least_float32(self.classify(levels[-1])))
        if self.outcome is not None:
            value, features = self.outcome(self._whole(levels, maps), probability, clinical)
            outputs["deep_features"] = features
            if self.settings.outcome == "hazard":
                outputs["log_hazard"] = at_least_float32(value.squeeze(1))
            else:
                labels.append(at_least_float32(value))
        if labels:
            outputs["labels"] = torch.cat(labels, 1)
        return outputs

    def _whole(self, levels: list[Tensor], maps: dict[int, Tensor]) -> list[Tensor]:
        """Global averages of the levels whose features the outcome uses."""
        if self.settings.global_features:
            chosen = [levels[level - 1] for level in GLOBAL_LEVELS]
            if self.settings.decoder_features:
                chosen += [maps[level] for level in DECODER_LEVELS]
            return [global_mean(x) for x in chosen]
        return [] if self.settings.tumour_features else [global_mean(levels[-1])]


def build(settings: WNet, in_channels: int, clinical: int) -> WNetwork:
    """The network with the tasks and feature sources that are set."""
    return WNetwork(settings, in_channels, clinical)
