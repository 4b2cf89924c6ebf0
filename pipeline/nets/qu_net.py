"""Qu's joint segmentation and classification network in 3D (Qu et al. 2019; comparator of 001, Table 5).

A U-Net whose encoder is ResNet-34; each decoder block is a transposed convolution that halves the
maps, the encoder's joined, two convolutions with ReLU before normalisation, and dropout 0.1 of whole
maps; a last transposed convolution returns to full resolution (the authors' public code). Made 3D
kernel by kernel. The original gives every nucleus a class, pixel by pixel; a patient's outcome, which
001 compares, needs one per image: the global average of the encoder's last maps and a linear layer,
our reading. The perceptual loss and the pre-trained encoder belong to colour photographs and are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Conv3d, channels_last_on_cpu, global_mean, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.mask_head import mask_channels, mask_outputs, mask_probabilities
from pipeline.nets.pooling import max_pool
from pipeline.nets.resnet50 import conv_norm
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import QuNet

BLOCKS = (3, 4, 6, 3)
FILTERS = (64, 128, 256, 512)
DECODER_DROPOUT = 0.1
DIVISOR = 32


class BasicBlock(nn.Module):
    """Two 3³ convolutions with normalisation, plus the input (He et al. 2015, Figure 5 left)."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm(inputs, filters, 3, stride), nn.ReLU(inplace=True), conv_norm(filters, filters, 3)
        )
        same = stride == 1 and inputs == filters
        self.project = nn.Identity() if same else conv_norm(inputs, filters, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, filters, …), sides divided by the stride."""
        return functional.relu(self.layers(x) + self.project(x))


class UpBlock(nn.Module):
    """Transposed convolution, the encoder's maps joined, two Conv–ReLU–BN with dropout."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        half = max(1, inputs // 2)
        self.grow = nn.ConvTranspose3d(inputs, half, 2, stride=2)
        layers: list[nn.Module] = []
        for source in (half + filters, filters):
            layers += [Conv3d(source, filters, 3, padding=1), nn.ReLU(inplace=True)]
            layers += [nn.BatchNorm3d(filters), nn.Dropout3d(DECODER_DROPOUT)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, filters, …) at the skip's size."""
        return self.layers(torch.cat([self.grow(x), skip], 1))  # type: ignore[no-any-return]


class QuUNet(nn.Module):
    """ResNet-34, four blocks up, the map; the outcome from the last maps."""

    def __init__(self, settings: QuNet, in_channels: int, clinical: int) -> None:
        super().__init__()
        f = [scaled(number, settings.width) for number in FILTERS]
        self.stem = nn.Sequential(conv_norm(in_channels, f[0], 7, 2), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        source = f[0]
        for stage, (blocks, filters) in enumerate(zip(BLOCKS, f, strict=True)):
            layers: list[nn.Module] = []
            for block in range(blocks):
                layers.append(BasicBlock(source, filters, 2 if stage and not block else 1))
                source = filters
            self.stages.append(nn.Sequential(*layers))
        targets = (f[2], f[1], f[0], f[0])
        self.up = nn.ModuleList(UpBlock(b, t) for b, t in zip((f[3], *targets[:-1]), targets, strict=True))
        self.losses = settings.losses
        self.last = nn.ConvTranspose3d(f[0], mask_channels(self.losses), 2, stride=2)
        self.head = OutcomeHead(f[3], clinical, settings.outcome, settings.losses, settings.dropout)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, DIVISOR, "qu_net")
        levels = [self.stem(channels_last_on_cpu(image))]
        x = max_pool(levels[0], 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        outcome = self.head(global_mean(x), clinical)
        for grow, skip in zip(self.up, reversed(levels[:-1]), strict=True):
            x = grow(x, skip)
        return {**mask_outputs(mask_probabilities(self.last(x), self.losses)), **outcome}


def build(settings: QuNet, in_channels: int, clinical: int) -> QuUNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return QuUNet(settings, in_channels, clinical)
