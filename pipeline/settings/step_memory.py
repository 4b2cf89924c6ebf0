"""How much of the machine's memory a fold takes, worked out before it starts.

The cohort itself lies in a file that is read batch by batch (`pipeline.training.shared_cohort`), so
that memory depends on the size of the crop, the batch and the network, and not on the number of
patients. Three moments are looked at, of which the largest counts: a crop is read and standardised,
a batch is resampled, a step is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

MB = 1024**2
NETWORK_MEMORY: dict[str, tuple[int, float]] = {
    "alexnet": (370, 38), "baseline_mt_hs": (1415, 2.7), "chen_net": (3510, 95), "chest_ct": (14870, 55),
    "cnn6": (750, 0.9), "cnn_survival": (40, 0.3), "deepmts": (1510, 3.8), "densenet169": (545, 19),
    "dlpm": (3040, 0.3), "hecktor": (1560, 2.5), "inception_v3": (440, 40), "mdsn": (190, 1.0),
    "mt_casnet": (1520, 3.7), "mt_hs": (1330, 2.7), "qu_net": (430, 73), "r_net": (960, 2.1),
    "resnet50": (600, 47), "rpet_net": (250, 0.2), "seg_backbone": (1260, 2.7), "sr_net": (9960, 33),
    "sthenr_net": (11140, 32), "sur_casnet": (170, 1.1), "sur_hs": (690, 2.0), "v_net": (900, 44),
    "vgg": (1940, 79), "w_net": (5890, 157), "wsl_cam": (870, 2.1),
}  # fmt: skip
"""By kind of network at its published width: bytes that a training step takes per voxel of the patients that
are computed at once, in float32, and millions of parameters. Measured: docs/networks.md, "One training step of
each", the peak less PyTorch's own 280 MiB and 16 bytes per parameter; of several rows the largest."""
BYTES_PER_PARAMETER = 16
"""Weights, gradients and two moments in float32; the best weights so far take 4 more."""
ENGINE_SHARE = {"float32": 1.28, "half": 0.725}
"""What a step of this engine takes over that: freed memory stays with the process, in pieces that do not always
fit what is asked for next. DeepMTS at 48³ and 80³ on AVX512-BF16 (`benchmarks/memory.py`)."""
PROCESS_MB = {"cpu": 370, "cuda": 4000}
"""PyTorch and the libraries of a fold's process with their code; on an accelerator also those of CUDA."""


@dataclass(frozen=True)
class StepSize:
    """What decides how much memory a step takes.

    Attributes:
        kind: Kind of network.
        width: Factor on its published number of filters.
        channels: Channels of an image.
        shape: What the network is given, voxels (z, y, x).
        stored: The crop with its margin, voxels (z, y, x).
        batch: Patients of a batch.
        at_once: Patients of the part of a batch that is computed at once.
        precision_bytes: Bytes of a value in the cohort's file.
    """

    kind: str
    width: float
    channels: int
    shape: tuple[int, ...]
    stored: tuple[int, ...]
    batch: int
    at_once: int
    precision_bytes: int


@dataclass(frozen=True)
class FoldMemory:
    """Memory of a fold's process, in bytes, by what needs it.

    Attributes:
        process: PyTorch and its libraries.
        network: Weights, gradients, moments and the best weights.
        reading: While one crop is read and standardised.
        resampling: While a batch is resampled.
        step: While a step is computed, the next batch having been read.
    """

    process: float
    network: float
    reading: float
    resampling: float
    step: float

    @property
    def peak(self) -> float:
        """The most that the process takes at any time, in bytes."""
        return self.process + self.network + max(self.reading, self.resampling, self.step)

    def in_words(self) -> str:
        """The peak and what it is made of, for the log."""
        parts = ", ".join(
            f"{name} {getattr(self, name) / 1e9:.2f}"
            for name in ("process", "network", "reading", "resampling", "step")
        )
        return f"{self.peak / 1e9:.2f} GB ({parts}; of the last three the largest counts)"


def fold_memory(size: StepSize, device: str, *, half: bool) -> FoldMemory:
    """Memory that a fold's process takes on its machine (not on an accelerator).

    Args:
        size: Sizes of crop, batch and network.
        device: `cpu` or `cuda`.
        half: Whether the network computes in bf16 or float16.
    """
    voxels, stored = math.prod(size.shape), math.prod(size.stored)
    raw = size.batch * stored * (size.channels * size.precision_bytes + 1)
    # The crop as it is stored and standardised in float32, one channel in float64 at several steps.
    reading = stored * (8 * size.channels + 40)
    if device != "cpu":
        # Batches are copied from pinned memory: one under way, one that is read.
        return FoldMemory(PROCESS_MB["cuda"] * MB, 0.0, reading, 0.0, 2 * raw)
    per_voxel, millions = NETWORK_MEMORY[size.kind]
    activations = size.at_once * voxels * per_voxel * max(size.width, 0.25)
    activations *= ENGINE_SHARE["half" if half else "float32"]
    # The batch in float32 less air, its mask; the grid of coordinates; and what is read from there.
    batch = size.batch * voxels * 4 * (size.channels + 1)
    resampling = raw + size.batch * (stored * 4 * (2 * size.channels + 1) + voxels * 4 * 6) + batch
    network = millions * 1e6 * size.width**2 * (BYTES_PER_PARAMETER + 4)
    return FoldMemory(PROCESS_MB["cpu"] * MB, network, reading, resampling, raw + 2 * batch + activations)


def width_of(network: Mapping[str, object]) -> float:
    """Factor on a network's published number of filters; 1 for networks without such a setting."""
    width = network.get("width", 1.0)
    return float(width) if isinstance(width, int | float) else 1.0
