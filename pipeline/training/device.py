"""What a network runs on, and how: device, precision, memory order, reproducibility."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import TrainingError
from pipeline.settings.training import TrainingSettings
from pipeline.training import cpu, gpu
from pipeline.training.cpu.malloc import keep_freed_memory

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceConfig:
    """Where and how a network is computed; the same for a whole run.

    Attributes:
        device: PyTorch's device of the network and the cohort.
        bf16: Whether the network runs under bf16 autocast; parameters, batch-norm statistics and
            losses stay float32.
        channels_last: Whether images and weights lie in memory in the order NDHWC.
        fp16: Whether it runs under float16 autocast instead, the loss scaled; not together with bf16.
    """

    device: torch.device
    bf16: bool
    channels_last: bool
    fp16: bool = False

    @property
    def precision(self) -> str:
        """`bf16`, `fp16` or `fp32`."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "fp32"

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which the network is called."""
        import torch

        kind = torch.float16 if self.fp16 else torch.bfloat16
        return torch.autocast(self.device.type, dtype=kind, enabled=self.bf16 or self.fp16)

    def to_memory_format(self, image: torch.Tensor) -> torch.Tensor:
        """An image batch (B, C, Z, Y, X) in the chosen memory order."""
        import torch

        return image.contiguous(memory_format=torch.channels_last_3d) if self.channels_last else image

    def to_device(self, net: torch.nn.Module, *, compiled: bool = False) -> torch.nn.Module:
        """The network on the device, its convolutions in the chosen memory order.

        Args:
            net: Changed in place.
            compiled: Whether it is going to be compiled.
        """
        import torch

        net = net.to(self.device)
        if self.device.type == "cpu":
            cpu.speed_up(net, bf16=self.bf16, channels_last=self.channels_last, compiled=compiled)
        elif (self.bf16 or self.fp16) and self.channels_last and not compiled:
            gpu.speed_up(net)
        if self.channels_last:
            for module in net.modules():
                if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return net

    def identity(self) -> dict[str, str]:
        """Kind of device and precision, on which the numbers depend; any card of a machine may go on."""
        return {"device": self.device.type, "precision": self.precision}

    def describe(self) -> dict[str, str]:
        """Device, precision, memory order and versions, for logs and `timing.json`."""
        import torch

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {
            "device": str(self.device),
            "name": name,
            "precision": self.precision,
            "memory_order": "channels last" if self.channels_last else "channels first",
            "threads": str(torch.get_num_threads()),
            "torch": torch.__version__,
        }


def choose_device(settings: TrainingSettings) -> DeviceConfig:
    """Device, precision and memory order by settings and hardware, never by timing, which would decide the numbers.

    `device: auto` takes an accelerator if there is one (CUDA_VISIBLE_DEVICES), else the CPU; which
    of several cards, `pipeline.training.cards` decides. `precision: auto` takes bf16 on an
    accelerator that computes in it and on processors with AVX512-BF16 or AMX, else float32.
    float16 is never chosen unasked: its range is narrow.

    Raises:
        TrainingError: A device was asked for that is not there.
    """
    import torch

    requested = settings.device
    if requested == "auto":
        requested = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(requested)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(
            "unknown device", where="training.device", expected="auto, cpu, cuda or cuda:N", got=requested
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(
            "this device is not there",
            where="training.device",
            expected=f"one of {torch.cuda.device_count()} CUDA devices "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')})",
            got=requested,
            action="set training.device: auto, or ask the scheduler for a GPU",
        )
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16(device))
    fp16 = settings.precision == "fp16"
    return DeviceConfig(device, bf16, settings.channels_last != "never", fp16)


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware itself multiplies in bf16, without emulation."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextlib.contextmanager
def reproducible(device_config: DeviceConfig, threads: int, deterministic: bool) -> Iterator[None]:
    """Fix what could make two runs differ, for as long as the context lasts.

    A CPU always gives the same bits for the same number of threads. On an accelerator TF32 is
    allowed for what autocast leaves in float32, unless `deterministic` is set, which also allows
    only kernels that give the same bits each time.

    Args:
        device_config: Where the network is computed.
        threads: Number of CPU threads.
        deterministic: Whether an accelerator, too, has to give the same bits each time.
    """
    import torch

    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    accelerator = device_config.device.type == "cuda"
    strict = deterministic or not accelerator
    torch.set_num_threads(threads)
    # The same switch as use_deterministic_algorithms, which imports the whole compiler (2 s).
    torch.set_deterministic_debug_mode("error" if strict else "default")
    # Filling every new tensor with NaN is a debugging aid that costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if accelerator:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = not deterministic
        torch.backends.cudnn.allow_tf32 = not deterministic
        torch.backends.cudnn.benchmark = not deterministic
    try:
        with contextlib.nullcontext() if accelerator else keep_freed_memory():
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
