"""Chest CT multi-task network on slices (004, section 2.2 and Figure 1).

A shared encoder, VGG-13 or ResNet-50; the second half of a U-Net for reconstruction (linear
output) and for segmentation (sigmoid); three fully connected layers for classification; Mask R-CNN on
the encoder's map of 1/16 of the image for detection. The paper trains in steps, each from the last
one's weights: the encoder and every decoder keep their names whatever tasks are built, so a state
dict of one step loads into the next. Sizes of the fully connected layers are not printed: 512 and
128, on maps max-pooled to 4 × 4.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Linear, at_least_float32, channels_last_on_cpu, initialise, upsample_nearest
from pipeline.nets.heads import outcome_size
from pipeline.nets.mask_head import mask_channels, mask_outputs, mask_probabilities
from pipeline.nets.mask_rcnn import MaskRcnn
from pipeline.nets.pooling import adaptive_max_pool, max_pool
from pipeline.nets.resnet50 import BLOCKS, EXPANSION, FILTERS, Bottleneck, conv_norm
from pipeline.nets.sizes import require_2d, require_divisible, scaled
from pipeline.settings.networks.chest_ct import ChestCt

VGG13 = (64, 128, 256, 512, 512)
DECODER = (512, 256, 128, 64)
GRID = 4
DENSE = (512, 128)
DIVISOR = {"vgg13": 16, "resnet50": 32}
DETECTED = {"vgg13": 4, "resnet50": 3}
"""The level whose maps are 1/16 of the image."""


def _double(inputs: int, filters: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (inputs, filters):
        layers += [nn.Conv2d(source, filters, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Vgg13(nn.Module):
    """Five stages of two convolutions, max pooling between them (Simonyan and Zisserman 2014, B)."""

    def __init__(self, in_channels: int, width: float) -> None:
        super().__init__()
        self.filters = [scaled(number, width) for number in VGG13]
        sources = (in_channels, *self.filters[:-1])
        self.stages = nn.ModuleList(_double(s, f) for s, f in zip(sources, self.filters, strict=True))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of the five stages, sides 1, 1/2 … 1/16 of the image."""
        levels = [self.stages[0](image)]
        for stage in self.stages[1:]:
            levels.append(stage(max_pool(levels[-1], 2)))
        return levels


class ResNet50(nn.Module):
    """Stem and four stages of bottlenecks (He et al. 2015, Table 1)."""

    def __init__(self, in_channels: int, width: float) -> None:
        super().__init__()
        source = scaled(64, width)
        self.stem = nn.Sequential(conv_norm(in_channels, source, 7, 2, 2), nn.ReLU(inplace=True))
        self.filters = [source, *(scaled(number, width) * EXPANSION for number in FILTERS)]
        self.stages = nn.ModuleList()
        for stage, (blocks, outputs) in enumerate(zip(BLOCKS, self.filters[1:], strict=True)):
            layers: list[nn.Module] = []
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(source, outputs // EXPANSION, stride, 2))
                source = outputs
            self.stages.append(nn.Sequential(*layers))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps of the stem and the four stages, sides 1/2 … 1/32 of the image."""
        levels = [self.stem(image)]
        x = max_pool(levels[0], 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """Second half of a U-Net: upsampling, a halving convolution, the encoder's maps, two convolutions."""

    def __init__(self, sources: list[int], width: float, outputs: int) -> None:
        super().__init__()
        filters = [scaled(number, width) for number in DECODER]
        below = [sources[-1], *filters]
        self.shrink = nn.ModuleList(nn.Conv2d(b, f, 1) for b, f in pairwise(below))
        skips = reversed(sources[:-1])
        self.join = nn.ModuleList(_double(f + s, f) for f, s in zip(filters, skips, strict=True))
        self.last = nn.Conv2d(filters[-1], outputs, 1)

    def forward(self, levels: list[Tensor], sides: torch.Size) -> Tensor:
        """Linear output (B, outputs, Y, X) at the image's size."""
        x = levels[-1]
        for shrink, join, skip in zip(self.shrink, self.join, reversed(levels[:-1]), strict=True):
            x = join(torch.cat([upsample_nearest(shrink(x), like=skip), skip], 1))
        if x.shape[2:] != sides:  # ResNet's first maps are half the image
            x = functional.interpolate(x, sides, mode="nearest")
        return at_least_float32(self.last(x))  # type: ignore[no-any-return]


class ChestCtNet(nn.Module):
    """Encoder and the decoders of the tasks that are set."""

    def __init__(self, settings: ChestCt, in_channels: int) -> None:
        super().__init__()
        self.divisor, self.level = DIVISOR[settings.encoder], DETECTED[settings.encoder]
        kind = Vgg13 if settings.encoder == "vgg13" else ResNet50
        self.encoder = kind(in_channels, settings.width)
        sources, tasks = self.encoder.filters, settings.tasks
        self.reconstruction = (
            Decoder(sources, settings.width, in_channels) if "reconstruction" in tasks else None
        )
        self.losses = settings.losses
        self.segmentation = (
            Decoder(sources, settings.width, mask_channels(self.losses)) if "segmentation" in tasks else None
        )
        self.detection = (
            MaskRcnn(sources[self.level], settings.width, settings.lesions) if "detection" in tasks else None
        )
        self.classification = None
        if "classification" in tasks:
            first, second = (scaled(number, settings.width) for number in DENSE)
            self.classification = nn.Sequential(
                Linear(sources[-1] * GRID**2, first),
                nn.ReLU(),
                Linear(first, second),
                nn.ReLU(),
                Linear(second, outcome_size("label", settings.losses)),
            )
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; image (B, C, 1, Y, X).

        Detection learns from the mask's regions and, in training, proposes their boxes.
        """
        x = require_2d(image, "chest_ct")
        require_divisible(x, self.divisor, "chest_ct")
        levels = self.encoder(channels_last_on_cpu(x))
        outputs: dict[str, Tensor] = {}
        if self.reconstruction is not None:
            outputs["reconstruction"] = self.reconstruction(levels, x.shape[2:]).unsqueeze(2)
        if self.segmentation is not None:
            logits = self.segmentation(levels, x.shape[2:])
            outputs |= mask_outputs(mask_probabilities(logits, self.losses))
        if self.classification is not None:
            pooled = adaptive_max_pool(levels[-1], GRID).flatten(1)
            outputs["labels"] = at_least_float32(self.classification(pooled))
        if self.detection is not None:
            flat = None if mask is None else mask.squeeze(1)
            outputs |= self.detection(levels[self.level], (x.shape[2], x.shape[3]), flat)
        return outputs


def build(settings: ChestCt, in_channels: int, clinical: int) -> ChestCtNet:
    """The network.

    Raises:
        SettingsError: Clinical features are given; the paper's network has no place for them.
    """
    if clinical:
        from pipeline.errors import SettingsError

        raise SettingsError(
            "the chest CT network takes no clinical features",
            where="kind chest_ct",
            got=f"{clinical} clinical features",
            action="leave `clinical` empty",
        )
    return ChestCtNet(settings, in_channels)
