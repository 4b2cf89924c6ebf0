"""What a fold that is about to start is going to take of the machine's memory."""

from __future__ import annotations

import math

from pipeline.settings.step_memory import FoldMemory, StepSize, fold_memory, width_of
from pipeline.training.context import FoldJob
from pipeline.training.dataset import CohortTensors
from pipeline.training.device import DeviceConfig


def expected_memory(job: FoldJob, cohort: CohortTensors, device_config: DeviceConfig) -> FoldMemory:
    """Memory that a fold's process is going to take.

    Args:
        job: The fold.
        cohort: Its patients.
        device_config: Device and precision.
    """
    size = StepSize(
        kind=job.network.kind,
        width=width_of(job.network.model_dump()),
        channels=len(cohort.channels),
        shape=cohort.shape,
        stored=tuple(cohort.images.shape[2:]),
        batch=job.training.batch,
        at_once=math.ceil(job.training.batch / job.training.gradient_accumulation),
        precision_bytes=cohort.images.element_size(),
    )
    return fold_memory(size, device_config.device.type, half=device_config.precision != "fp32")
