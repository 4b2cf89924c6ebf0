"""What the network runs on, and how: device, precision, memory order, determinism."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import TrainingError
from pipeline.settings.training import TrainingSettings
from pipeline.training.cpu.malloc import kept_memory

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceConfig:
    """Decisions that hold for a whole run.

    Attributes:
        device: Where the network and the cohort are.
        half: bf16 autocast; parameters, batch-norm statistics and losses stay float32.
        channels_last: Images and weights in NDHWC order.
    """

    device: torch.device
    half: bool
    channels_last: bool

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Context the network runs in."""
        import torch

        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half)

    def arrange(self, image: torch.Tensor) -> torch.Tensor:
        """An image batch (B, C, Z, Y, X) in the memory order decided for."""
        import torch

        return image.contiguous(memory_format=torch.channels_last_3d) if self.channels_last else image

    def place(self, net: torch.nn.Module, *, compiled: bool = False) -> torch.nn.Module:
        """The network on the device, its convolutions in the memory order decided for.

        What is to be compiled keeps PyTorch's own batch norm, which the compiler fuses.
        """
        import torch

        from pipeline.training.cpu import conv3d_bf16 as narrow
        from pipeline.training.cpu import dropout, norm

        net = net.to(self.device)
        on_cpu = self.device.type == "cpu"
        if self.half and on_cpu:
            narrow.guard(net)
        if self.half and on_cpu and not compiled:
            dropout.speed_up(net)
        if self.channels_last and on_cpu and not compiled:
            norm.speed_up(net)
        if self.channels_last:
            for module in net.modules():
                if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return net

    def describe(self) -> dict[str, str]:
        """For logs and `timing.json`."""
        import torch

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {
            "device": str(self.device),
            "name": name,
            "precision": "bf16" if self.half else "fp32",
            "memory_order": "channels last" if self.channels_last else "channels first",
            "threads": str(torch.get_num_threads()),
            "torch": torch.__version__,
        }


def choose_machine(settings: TrainingSettings) -> DeviceConfig:
    """Decide by settings and hardware, never by timing, which would decide the numbers.

    `device: auto` takes the first accelerator the scheduler granted (CUDA_VISIBLE_DEVICES),
    else the CPU. `precision: auto` takes bf16 on an accelerator that computes in it and on
    processors with AVX512-BF16 or AMX, else float32.

    Raises:
        TrainingError: A device was asked for that is not there.
    """
    import torch

    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(
            "unknown device", where="training.device", expected="auto, cpu, cuda or cuda:N", got=wanted
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(
            "this device is not there",
            where="training.device",
            expected=f"one of {torch.cuda.device_count()} CUDA devices "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')})",
            got=wanted,
            action="set training.device: auto, or ask the scheduler for a GPU",
        )
    half = settings.precision == "bf16" or (settings.precision == "auto" and has_bf16(device))
    return DeviceConfig(device, half, settings.channels_last != "never")


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bf16, rather than emulating it."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextlib.contextmanager
def reproducible(machine: DeviceConfig, threads: int, deterministic: bool) -> Iterator[None]:
    """Fix what could make two runs differ, for the time of a run.

    A CPU always repeats bit for bit at the same number of threads. On an accelerator TF32
    is allowed for what autocast leaves in float32 unless `deterministic` is asked for,
    which also allows only kernels that repeat.
    """
    import torch

    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    accelerator = machine.device.type == "cuda"
    strict = deterministic or not accelerator
    torch.set_num_threads(threads)
    # The same switch as use_deterministic_algorithms, which imports the whole compiler (2 s).
    torch.set_deterministic_debug_mode("error" if strict else "default")
    # Filling every fresh tensor with NaN is a debugging aid that costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if accelerator:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = not deterministic
        torch.backends.cudnn.allow_tf32 = not deterministic
        torch.backends.cudnn.benchmark = not deterministic
    try:
        with contextlib.nullcontext() if accelerator else kept_memory():
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
