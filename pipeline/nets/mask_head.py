"""Where a network's maps become probabilities of the mask: tumour or not, or one of several classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.nets.blocks import at_least_float32
from pipeline.nets.pointwise import point_convolution
from pipeline.settings.losses import LossSettings


def mask_channels(losses: LossSettings) -> int:
    """Channels of the last convolution of a network that gives one logit for tumour or not."""
    classes = len(losses.mask_classes)
    return classes + 1 if classes and losses.mask_activation == "softmax" else max(classes, 1)


def mask_probabilities(logits: Tensor, losses: LossSettings) -> Tensor:
    """Probabilities (B, 1, *sides) of tumour, or (B, 1 + K, *sides) of it and of each class, float32.

    With classes the first channel is the probability of any of them: under a softmax over background and
    classes their sum; where each class has a sigmoid of its own, the largest, so that any is above one
    half where one of them is.

    Args:
        logits: (B, C, *sides), C as :func:`mask_channels` says; background first under a softmax.
        losses: Names of the classes, and softmax or sigmoid.
    """
    logits = at_least_float32(logits)
    if not losses.mask_classes:
        return torch.sigmoid(logits)
    if losses.mask_activation == "softmax":
        classes = logits.softmax(1)[:, 1:]
        return torch.cat([classes.sum(1, keepdim=True).clamp(max=1.0), classes], 1)
    classes = torch.sigmoid(logits)
    return torch.cat([classes.amax(1, keepdim=True), classes], 1)


def mask_outputs(probabilities: Tensor) -> dict[str, Tensor]:
    """Outputs ``mask`` (B, Z, Y, X) and, with classes, ``class_masks`` (B, K, Z, Y, X).

    Args:
        probabilities: Of :func:`mask_probabilities`, (B, 1 or 1 + K, Z, Y, X), or (…, Y, X) of slices.
    """
    if probabilities.dim() == 4:
        probabilities = probabilities.unsqueeze(2)
    outputs = {"mask": probabilities[:, 0]}
    if probabilities.shape[1] > 1:
        outputs["class_masks"] = probabilities[:, 1:]
    return outputs


class MaskHead(nn.Module):
    """1×1×1 convolution to background and tumour, or background and classes, and their softmax.

    The softmax of two channels is the logistic function of their difference, and the
    difference of two linear maps is one linear map: computed that way, the output is the same
    with one full-size tensor instead of four. The parameters stay those of two channels.

    Args:
        inputs: Channels in.
        losses: Names of the classes, and softmax or sigmoid.
    """

    def __init__(self, inputs: int, losses: LossSettings) -> None:
        super().__init__()
        self.losses = losses
        self.conv = nn.Conv3d(inputs, mask_channels(losses) if losses.mask_classes else 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities as :func:`mask_probabilities` gives them, from features (B, F, Z, Y, X)."""
        if self.losses.mask_classes:
            return mask_probabilities(self.conv(x), self.losses)
        bias = self.conv.bias
        assert bias is not None
        weight = self.conv.weight[1:] - self.conv.weight[:1]
        logits = point_convolution(x, weight, bias[1:] - bias[:1])
        return mask_probabilities(logits, self.losses)
