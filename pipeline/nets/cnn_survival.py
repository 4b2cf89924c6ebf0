"""CNN-Survival: a 2D network on the slice of largest tumour area, discrete time.

Zhang et al. 2020 as Meng et al., section 4.4, use it: 6 convolutions, 3 max poolings, 1 fully
connected layer, on PET and CT slices multiplied with the manual mask; the clinical features
join the fully connected layer's output. Which slice is not printed: the one of largest tumour
area is our reading. Filters are not printed either: 32, 64, 128, two convolutions each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.nets.blocks import (
    Linear,
    at_least_float32,
    channels_last_on_cpu,
    global_mean,
    initialise,
    join_clinical,
    masked,
)
from pipeline.nets.pooling import MaxPool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.deepmts import CnnSurvival

FILTERS = (32, 64, 128)
HIDDEN = 64
DIVISOR = 8


def largest_slice(image: Tensor, mask: Tensor) -> Tensor:
    """Each patient's slice (B, C, Y, X) in which the mask covers most; the first of equals."""
    areas = (mask.flatten(2) > 0).float().sum(2)
    rows = torch.arange(image.shape[0], device=image.device)
    return image[rows, :, areas.argmax(1)]


class CnnSurvivalNet(nn.Module):
    """Conv–BN–ReLU twice and max pooling, three times; fully connected; interval logits."""

    def __init__(self, settings: CnnSurvival, in_channels: int, clinical: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        filters = [scaled(number, settings.width) for number in FILTERS]
        source = in_channels
        for number in filters:
            for _ in range(2):
                conv = nn.Conv2d(source, number, 3, padding=1)
                layers += [conv, nn.BatchNorm2d(number), nn.ReLU(inplace=True)]
                source = number
            layers.append(MaxPool(2))
        self.convolutions = nn.Sequential(*layers)
        self.hidden = Linear(filters[-1], HIDDEN)
        self.last = Linear(HIDDEN + clinical, len(settings.losses.interval_edges_days))
        self.dropout = nn.Dropout(settings.dropout)
        self.clinical = clinical
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`; the mask is needed, for patients to be predicted too."""
        tumour = masked(image, mask, "cnn_survival")
        assert mask is not None
        x = largest_slice(tumour, mask)
        require_divisible(x, DIVISOR, "cnn_survival")
        features = torch.relu(self.hidden(global_mean(self.convolutions(channels_last_on_cpu(x)))))
        joined = join_clinical(self.dropout(features), clinical, self.clinical)
        return {
            "interval_logits": at_least_float32(self.last(joined)),
            "deep_features": at_least_float32(features),
        }


def build(settings: CnnSurvival, in_channels: int, clinical: int) -> CnnSurvivalNet:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return CnnSurvivalNet(settings, in_channels, clinical)
