"""Building blocks that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import SettingsError
from pipeline.nets.pointwise import point_convolution


class Conv3d(nn.Conv3d):
    """3D convolution whose gradients are right in bfloat16 on a CPU, too.

    oneDNN's bfloat16 gradient of the weights is wrong, sometimes NaN, where the image is 2 voxels
    deep and the kernel 3 (seen with torch 2.13 on AVX512-BF16; depths 1 and 3 upwards and the
    other axes are right). Images thinner than the kernel are tiny, so they run in float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As `torch.nn.Conv3d`."""
        is_bf16 = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
        if x.device.type != "cpu" or not is_bf16 or x.shape[2] >= self.kernel_size[0]:
            return super().forward(x)
        dtype = x.dtype
        with torch.autocast("cpu", enabled=False):
            weight = self.weight.float()
            bias = None if self.bias is None else self.bias.float()
            result: Tensor = self._conv_forward(x.float(), weight, bias)
            return result.to(dtype)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        one = (1, 1, 1)
        if (self.kernel_size, self.stride, self.padding, self.groups) == (one, one, (0, 0, 0), 1):
            return point_convolution(input, weight, bias)
        return super()._conv_forward(input, weight, bias)  # type: ignore[no-any-return]


class Linear(nn.Linear):
    """Linear layer that computes in float32 under bfloat16 autocast.

    The Cox loss does not depend on a constant added to all log-hazards. They may therefore lie far
    from 0, where the 8 bits of bfloat16 cannot tell patients apart; clinical features would be
    rounded, too. For vectors float32 costs next to nothing.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As `torch.nn.Linear`; float32 from bfloat16."""
        device = x.device.type
        if device == "meta" or not torch.is_autocast_enabled(device):
            return super().forward(x)
        with torch.autocast(device, enabled=False):
            return super().forward(at_least_float32(x))


class ConvNormRelu(nn.Sequential):
    """Convolution with padding, batch normalisation, ReLU; keeps the image's size.

    Args:
        inputs: Channels in.
        filters: Channels out.
        kernel: Side of the kernel, odd.
        dimensions: 2 or 3.
    """

    def __init__(self, inputs: int, filters: int, kernel: int = 3, dimensions: int = 3) -> None:
        conv = Conv3d if dimensions == 3 else nn.Conv2d
        norm = nn.BatchNorm3d if dimensions == 3 else nn.BatchNorm2d
        super().__init__(
            conv(inputs, filters, kernel, padding=kernel // 2), norm(filters), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """(B, filters, *sides) from (B, inputs, *sides); `added`, of the output's shape, is added behind the ReLU."""
        result: Tensor = super().forward(x)
        return result if added is None else result + added


class NormRelu(nn.BatchNorm3d):
    """Batch normalisation and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Z, Y, X) → the same shape."""
        return functional.relu(super().forward(x), inplace=True)


class UpsampleAndJoin(nn.Module):
    """Nearest-neighbour upsampling by 2; the finer image's channels follow the coarser one's."""

    def forward(self, x: Tensor, fine: Tensor) -> Tensor:
        """(B, C + F, *sides) from (B, C, *⌈sides/2⌉) and (B, F, *sides)."""
        return torch.cat([upsample_nearest(x, like=fine), fine], 1)


def upsample_nearest(x: Tensor, like: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by 2, cropped to the sides of another tensor where pooling rounded up."""
    x = functional.interpolate(x, scale_factor=2, mode="nearest")
    for dimension in range(2, x.dim()):
        if x.shape[dimension] > like.shape[dimension]:
            x = x.narrow(dimension, 0, like.shape[dimension])
    return x


def at_least_float32(x: Tensor) -> Tensor:
    """Float32 of bfloat16 and float32; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def channels_last_on_cpu(image: Tensor) -> Tensor:
    """The image with channels last in memory on a CPU, where convolutions then run up to twice as fast.

    Convolutions, normalisation and pooling keep the layout, so that it is set once, on the input.
    """
    if image.device.type != "cpu":
        return image
    layout = torch.channels_last_3d if image.dim() == 5 else torch.channels_last
    return image.contiguous(memory_format=layout)


def global_mean(x: Tensor) -> Tensor:
    """Global average pooling: (B, F) from (B, F, *sides), summed in float32."""
    return at_least_float32(x.flatten(2)).mean(2)


def join_clinical(features: Tensor, clinical: Tensor | None, expected: int) -> Tensor:
    """Features (B, F) and clinical features (B, K), concatenated.

    Raises:
        SettingsError: K is not the number the network was built for.
    """
    got = 0 if clinical is None else clinical.shape[1]
    if got != expected:
        raise SettingsError(
            "the clinical features do not fit the network",
            expected=f"{expected} clinical features",
            got=str(got),
            action="train and predict with the same `clinical` columns",
        )
    if clinical is None or expected == 0:
        return features
    return torch.cat([features, clinical.to(features.dtype)], 1)


def masked(image: Tensor, mask: Tensor | None, name: str) -> Tensor:
    """Image (B, C, Z, Y, X) with everything outside the manual mask (B, Z, Y, X), of any class, set to 0.

    Raises:
        SettingsError: There is no mask.
    """
    if mask is None:
        raise SettingsError(
            "the network multiplies the manual mask onto its input and was given none",
            where=name,
            action="set `masked: false`, or use patients with contours",
        )
    return image * (mask > 0).unsqueeze(1).to(image.dtype)


def initialise(net: nn.Module) -> None:
    """He-uniform convolutions, Glorot-uniform linear layers, zero biases (Keras' ways), in place."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
