"""Weakly supervised tumour detection by class response (Amyar et al. 2020, arXiv 2003.08337).

The comparator WSL-MTL of 001 (Tables 2 and 3). Two maximum intensity projections, coronal and
sagittal, are classified by one 2D network; its class activation maps are drawn to one point per
projection by a distance loss, learned together with the class; both maps, projected back, meet in
the tumour; a 3D network on the image within it predicts the outcome. Neither layers nor filters are
in the text we have. Ours: four stages of two 3 × 3 convolutions of 32 to 256 filters, pooling after
the first two; the activation is the evidence of each class weighted with its probability, through a
logistic function; the tumour is the product of both maps times the uptake relative to its maximum,
which is what 001 calls the corrected maps' retrieval in 3D; the outcome's network is that of
`cnn6`, and gradients of the outcome stop at the tumour (two stages, as published).
"""

from __future__ import annotations

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
)
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import MaxPool, resize_linear
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import WslCam

FILTERS = (32, 64, 128, 256)
POOLED = 2
OUTCOME_FILTERS = (32, 64, 128)
DENSE = 128
SMALLEST_SIDE = 8
FRACTION = 0.4
"""Share of the maximal uptake at which a voxel is as likely tumour as not: 001's definition of a tumour."""
STEEPNESS = 20.0


class View(nn.Module):
    """Class evidence of a projection: convolutions, global average pooling, linear (Zhou et al. 2016)."""

    def __init__(self, in_channels: int, width: float) -> None:
        super().__init__()
        filters = [scaled(number, width) for number in FILTERS]
        stages: list[nn.Module] = []
        for number, (source, target) in enumerate(pairwise((in_channels, *filters))):
            for inputs in (source, target):
                stages += [nn.Conv2d(inputs, target, 3, padding=1), nn.BatchNorm2d(target), nn.ReLU()]
            if number < POOLED:
                stages.append(MaxPool(2))
        self.convolutions = nn.Sequential(*stages)
        self.classes = Linear(filters[-1], 2)

    def forward(self, projection: Tensor) -> tuple[Tensor, Tensor]:
        """Logit (B,) of the second class, and the activation (B, Y, X) in [0, 1] at the projection's size."""
        maps = self.convolutions(projection)
        evidence = at_least_float32(self.classes(maps.permute(0, 2, 3, 1)))  # (B, y, x, 2)
        logits = evidence.mean((1, 2))  # linear: the mean of evidence is the evidence of the mean
        chances = torch.softmax(logits, 1)
        response = (evidence * chances[:, None, None]).sum(3)
        small = torch.sigmoid(response)[:, None]
        grown = resize_linear(small, projection.shape[2:])
        return logits[:, 1] - logits[:, 0], grown.squeeze(1)


def relative_uptake(image: Tensor, activation: Tensor) -> Tensor:
    """Soft threshold (B, Z, Y, X) of the first channel at 40 % of its range within the activation."""
    uptake = at_least_float32(image[:, 0])
    low = uptake.flatten(1).min(1).values[:, None, None, None]
    peak = ((uptake - low) * activation).flatten(1).max(1).values[:, None, None, None]
    share = (uptake - low) / peak.clamp(min=1e-6)
    return torch.sigmoid(STEEPNESS * (share - FRACTION))


class WslNet(nn.Module):
    """Classifier of projections, localisation by its activation maps, outcome within the tumour."""

    def __init__(self, settings: WslCam, in_channels: int, clinical: int) -> None:
        super().__init__()
        self.view = View(in_channels, settings.width)
        layers: list[nn.Module] = []
        filters = [scaled(number, settings.width) for number in OUTCOME_FILTERS]
        for source, target in pairwise((in_channels, *filters)):
            for inputs in (source, target):
                layers += [Conv3d(inputs, target, 3, padding=1), nn.ReLU(inplace=True)]
            layers.append(MaxPool(2))
        self.convolutions = nn.Sequential(*layers)
        self.dense = Linear(filters[-1], DENSE)
        losses = settings.outcome_losses()
        self.head = OutcomeHead(DENSE, clinical, settings.outcome, losses, settings.dropout)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; labels: the kind of cancer first, then the outcome's."""
        require_divisible(image, 1, "wsl_cam", SMALLEST_SIDE)
        front, coronal = self.view(channels_last_on_cpu(image.amax(3)))  # (B, Z, X)
        side, sagittal = self.view(channels_last_on_cpu(image.amax(4)))  # (B, Z, Y)
        hull = coronal[:, :, None, :] * sagittal[:, :, :, None]
        tumour = hull * relative_uptake(image, hull)
        tumour_image = channels_last_on_cpu(image * tumour.detach()[:, None].to(image.dtype))
        features = functional.relu(self.dense(global_mean(self.convolutions(tumour_image))))
        outputs = self.head(features, clinical)
        kind = at_least_float32((front + side) / 2)[:, None]
        outputs["labels"] = torch.cat([kind, outputs["labels"]], 1) if "labels" in outputs else kind
        return {"mask": tumour, "activation_coronal": coronal, "activation_sagittal": sagittal, **outputs}


def build(settings: WslCam, in_channels: int, clinical: int) -> WslNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return WslNet(settings, in_channels, clinical)
