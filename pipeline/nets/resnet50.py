"""ResNet-50 in 3D (He et al. 2015, Table 1; comparator of 001, Table 3).

7³ convolution stride 2, max pooling 3 stride 2, bottleneck blocks 3, 4, 6, 3 of 64 to 512
filters with four times as many outputs, global average pooling.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pipeline.nets.blocks import Conv3d, channels_last_on_cpu, global_mean, initialise
from pipeline.nets.heads import OutcomeHead
from pipeline.nets.pooling import MaxPool
from pipeline.nets.sizes import require_divisible, scaled
from pipeline.settings.networks.pet_multiscale import ResNet50

BLOCKS = (3, 4, 6, 3)
FILTERS = (64, 128, 256, 512)
EXPANSION = 4
SMALLEST_SIDE = 16


def conv_norm(inputs: int, filters: int, kernel: int, stride: int = 1, dimensions: int = 3) -> nn.Sequential:
    """Convolution without bias and batch normalisation, in 2 or 3 dimensions."""
    padding = kernel // 2
    if dimensions == 2:
        flat = nn.Conv2d(inputs, filters, kernel, stride=stride, padding=padding, bias=False)
        return nn.Sequential(flat, nn.BatchNorm2d(filters))
    conv = Conv3d(inputs, filters, kernel, stride=stride, padding=padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(filters))


class Bottleneck(nn.Module):
    """1³ – 3³ – 1³ convolutions with normalisation, plus the input; the 3³ one carries the stride."""

    def __init__(self, inputs: int, filters: int, stride: int, dimensions: int = 3) -> None:
        super().__init__()
        outputs = filters * EXPANSION
        self.layers = nn.Sequential(
            conv_norm(inputs, filters, 1, 1, dimensions),
            nn.ReLU(inplace=True),
            conv_norm(filters, filters, 3, stride, dimensions),
            nn.ReLU(inplace=True),
            conv_norm(filters, outputs, 1, 1, dimensions),
        )
        same = stride == 1 and inputs == outputs
        self.project = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride, dimensions)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4 × filters, …), sides divided by the stride."""
        return functional.relu(self.layers(x) + self.project(x))


class ResNet3d(nn.Module):
    """Stem, four stages, global average, outcome."""

    def __init__(self, settings: ResNet50, in_channels: int, clinical: int) -> None:
        super().__init__()
        source = scaled(64, settings.width)
        self.stem = nn.Sequential(conv_norm(in_channels, source, 7, 2), nn.ReLU(), MaxPool(3, 2, padding=1))
        stages: list[nn.Module] = []
        for stage, (blocks, number) in enumerate(zip(BLOCKS, FILTERS, strict=True)):
            filters = scaled(number, settings.width)
            for block in range(blocks):
                stages.append(Bottleneck(source, filters, 2 if stage and not block else 1))
                source = filters * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.head = OutcomeHead(source, clinical, settings.outcome, settings.losses)
        initialise(self)

    def forward(
        self, image: Tensor, clinical: Tensor | None = None, mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `pipeline.nets.registry.build`."""
        require_divisible(image, 1, "resnet50", SMALLEST_SIDE)
        return self.head(  # type: ignore[no-any-return]
            global_mean(self.stages(self.stem(channels_last_on_cpu(image)))), clinical
        )


def build(settings: ResNet50, in_channels: int, clinical: int) -> ResNet3d:
    """The network; arguments as in `pipeline.nets.registry.build`."""
    return ResNet3d(settings, in_channels, clinical)
