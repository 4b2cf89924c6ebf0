"""The patients of a fold, on the device that trains or in a file beside it; batches are taken by row number."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.augment.transfer import sent
from pipeline.provenance import code_digest
from pipeline.tables.failures import own_result
from pipeline.tables.manifest import FILE
from pipeline.training.checkpoint import digest
from pipeline.training.cohort_file import CohortFile, CohortHeader, entry_of, header_of, in_precision
from pipeline.training.crops import StandardisedCrop, standardised_crops
from pipeline.training.device import DeviceConfig
from pipeline.training.intensity import Standardisation
from pipeline.training.prefetch import ImageBatch, Prefetcher, empty_rows
from pipeline.training.shared_cohort import open_shared

if TYPE_CHECKING:
    import pandas as pd
    import torch

log = logging.getLogger(__name__)
FILE_CODE = ("pipeline.training.crops", "pipeline.training.cohort_file")
"""Modules that decide the content of the cohort's file."""
SHARE_OF_MEMORY = 0.5
"""Share of an accelerator's free memory the cohort may take; the rest is for the network's training."""
StoredAs = Literal["auto", "float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class CohortSource:
    """Where a cohort comes from.

    Attributes:
        crops: Folder of the crop stores, `{patient_id}.zarr`.
        standardisation: How images are standardised.
        stored_as: Precision in which they are kept; `auto`: float16 on an accelerator that computes in
            bf16 (float16 keeps three bits more), else float32.
        shared: Folder for the file of the standardised crops, which all folds of a study read; None:
            the patients are few and are kept on the device.
    """

    crops: Path
    standardisation: Standardisation
    stored_as: StoredAs = "auto"
    shared: Path | None = None

    def precision(self, device_config: DeviceConfig) -> str:
        """Name of the precision in which images are kept."""
        if self.stored_as != "auto":
            return self.stored_as
        return "float16" if device_config.bf16 and device_config.device.type == "cuda" else "float32"

    def key(self, ids: Sequence[str], precision: str) -> str:
        """Hash of what decides the content of the cohort's file: patients, crops, standardisation, precision, code.

        Raises:
            DamageError: A crop has no status.
        """
        # A file that a killed run left may have been written by another version of this code.
        parts = [self.standardisation.encode(), precision.encode(), code_digest(*FILE_CODE).encode()]
        for patient_id in ids:
            path = self.crops / f"{patient_id}.zarr" / FILE
            with own_result(path, "the manifest of a crop"):
                parts += [patient_id.encode(), path.read_bytes()]
        return digest(*parts)


@dataclass(frozen=True)
class CohortTensors:
    """All patients of a fold, a row each.

    Attributes:
        ids: Patient ids, (N).
        images: (N, C, Z, Y, X) standardised, on the device. Where they are in a file: a tensor of that
            shape and type without values (PyTorch's device `meta`).
        masks: (N, Z, Y, X) uint8, 1 = tumour, or the labels of `classes`; 0 where a patient has none. In a
            file where the images are.
        has_mask: (N) whether a patient has a mask.
        air: (N, C) float32, each patient's standardised value of air.
        time: (N) float32, days; None without outcomes.
        event: (N) float32, 1 = the event occurred; None without outcomes.
        clinical: (N, K) float32, encoded, or None.
        targets: Further targets by name: `centre` (N) numbers of centres, and every `label_*`
            column of the cohort table (N) float32, NaN where unknown.
        channels: Names of the image channels, (C).
        spacing_mm: (z, y, x).
        margin: Voxels stored beyond what networks are given, on each side.
        device: The device of batches.
        classes: Names of the classes of labels 1, 2, …; empty: masks tell none apart.
        crops_digest: Hash of every array of every patient's crop.
        prefetcher: Reads batches from the file; None where the cohort is on the device.
    """

    ids: tuple[str, ...]
    images: torch.Tensor
    masks: torch.Tensor
    has_mask: torch.Tensor
    air: torch.Tensor
    time: torch.Tensor | None
    event: torch.Tensor | None
    clinical: torch.Tensor | None
    targets: dict[str, torch.Tensor]
    channels: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    margin: int
    device: torch.device
    classes: tuple[str, ...] = ()
    crops_digest: str = ""
    prefetcher: Prefetcher | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """What networks are given, (z, y, x): the store's shape without its margin (none where Z = 1)."""
        z, y, x = self.images.shape[2:]
        flat = z == 1
        return (z if flat else z - 2 * self.margin, y - 2 * self.margin, x - 2 * self.margin)

    def rows(self, ids: Sequence[str]) -> list[int]:
        """Row numbers of patients."""
        row_of = {patient_id: row for row, patient_id in enumerate(self.ids)}
        return [row_of[patient_id] for patient_id in ids]

    def on_device(self, rows: Sequence[int]) -> torch.Tensor:
        """Row numbers (B) as a tensor on the device."""
        import torch

        return sent(torch.tensor(list(rows)), self.device)

    def take(self, rows: Sequence[int]) -> ImageBatch:
        """Images and masks of a batch, on the device."""
        if self.prefetcher is not None:
            return self.prefetcher.take(rows)
        index = self.on_device(rows)
        return ImageBatch(self.images.index_select(0, index), self.masks.index_select(0, index))

    def announce(self, rows: Sequence[int]) -> None:
        """Say which batch will be taken next, so that it can be read meanwhile."""
        if self.prefetcher is not None:
            self.prefetcher.announce(rows)

    def location(self) -> str:
        """Where images and masks are kept, in words."""
        return "on the device" if self.prefetcher is None else "in a file, read one batch ahead"

    def close(self) -> None:
        """Give up the file, if there is one; whoever is the last to use it removes it."""
        if self.prefetcher is not None:
            self.prefetcher.close()
            self.prefetcher.file.close()

    def fingerprint(self) -> str:
        """Hash of ids, outcomes, covariates, and of what the crops hold and how it was standardised."""
        tensors = [self.air, self.time, self.event, self.has_mask.float()]
        tensors += [self.targets[name] for name in sorted(self.targets)]
        tensors.append(self.clinical)
        return digest(
            self.crops_digest.encode(),
            "\n".join(self.ids).encode(),
            *(tensor.cpu().numpy().tobytes() for tensor in tensors if tensor is not None),
        )


def load_cohort(
    source: CohortSource, outcomes: pd.DataFrame, clinical: pd.DataFrame, device_config: DeviceConfig
) -> CohortTensors:
    """Read and standardise every patient's crop.

    With a folder for the shared file an accelerator takes the whole cohort from it if it has room;
    else, and on a CPU, each batch is read when it is due. Without one the cohort is on the device.

    Args:
        source: Where the crops are, and how they are kept.
        outcomes: Patients to load, in this order; with time_days and event where the study has them.
        clinical: Encoded covariates of the same patients; no columns where none are used.
        device_config: The device, and whether it computes in bf16.

    Raises:
        TrainingError: Crops differ in shape, channels or spacing; or cannot be standardised.
        CropError: A crop store cannot be trusted.
        MachineError: The cohort's file cannot be written or read.
    """
    import torch

    device = device_config.device
    stored = _store(source, list(outcomes.index), device_config)
    header = stored.header
    encoded = torch.from_numpy(clinical.to_numpy(np.float32)) if clinical.shape[1] else None
    return CohortTensors(
        ids=tuple(outcomes.index),
        images=stored.images,
        masks=stored.masks,
        has_mask=torch.tensor(header.has_mask, device=device),
        air=torch.tensor(header.air, dtype=torch.float32, device=device),
        time=_column(outcomes, "time_days", device),
        event=_column(outcomes, "event", device),
        clinical=None if encoded is None else encoded.to(device),
        targets=_targets(outcomes, device),
        channels=header.channels,
        spacing_mm=header.spacing_mm,
        margin=header.margin,
        device=device,
        classes=header.classes,
        crops_digest=header.crops_digest,
        prefetcher=stored.prefetcher,
    )


@dataclass(frozen=True)
class _StoredImages:
    """Images and masks at the place from which batches are taken, and what is said of them."""

    header: CohortHeader
    images: torch.Tensor
    masks: torch.Tensor
    prefetcher: Prefetcher | None


def _store(source: CohortSource, ids: list[str], device_config: DeviceConfig) -> _StoredImages:
    precision = source.precision(device_config)

    def read_crops() -> Iterator[StandardisedCrop]:
        return standardised_crops(source.crops, ids, source.standardisation)

    if source.shared is None:
        return _in_memory(list(read_crops()), precision, device_config)
    shared = open_shared(source.shared, source.key(ids, precision), precision, read_crops)
    size, device = shared.header.nbytes, device_config.device
    free = free_bytes(device)
    if size <= SHARE_OF_MEMORY * free:
        log.info("cohort on the device (%s): %.2f GB of %.1f GB free", device, size / 1e9, free / 1e9)
        with contextlib.closing(shared):
            return _on_accelerator(shared, device)
    log.info("cohort in a file, read one batch ahead: %.2f GB in %s", size / 1e9, shared.folder)
    if device.type == "cuda":
        log.warning(
            "the device (%s) has %.1f GB free, and at most %.0f %% of that are given to the cohort",
            device, free / 1e9, 100 * SHARE_OF_MEMORY,
        )  # fmt: skip
    images, masks = empty_rows(shared.header, len(ids), "meta")
    return _StoredImages(shared.header, images, masks, Prefetcher(shared, device))


def _on_accelerator(file: CohortFile, device: torch.device) -> _StoredImages:
    """The whole cohort on the device, copied patient by patient."""
    images, masks = empty_rows(file.header, len(file.header.ids), str(device))
    image, mask = empty_rows(file.header, 1)
    for row in range(len(masks)):
        file.read(row, image[0], mask[0])
        images[row].copy_(image[0])
        masks[row].copy_(mask[0])
    return _StoredImages(file.header, images, masks, None)


def _in_memory(crops: list[StandardisedCrop], precision: str, device_config: DeviceConfig) -> _StoredImages:
    """A few patients on the device, without a file."""
    import torch

    header = header_of([entry_of(crop) for crop in crops], precision)
    images = torch.stack([in_precision(crop, precision) for crop in crops])
    masks = torch.from_numpy(np.stack([crop.mask for crop in crops]))
    device = device_config.device
    return _StoredImages(header, images.to(device), masks.to(device), None)


def _column(outcomes: pd.DataFrame, name: str, device: torch.device) -> torch.Tensor | None:
    import torch

    return torch.from_numpy(outcomes[name].to_numpy(np.float32)).to(device) if name in outcomes else None


def _targets(outcomes: pd.DataFrame, device: torch.device) -> dict[str, torch.Tensor]:
    import torch

    codes = {name: number for number, name in enumerate(sorted(set(outcomes["centre"])))}
    numbers = np.array([codes[name] for name in outcomes["centre"]], dtype=np.int64)
    targets = {"centre": torch.from_numpy(numbers).to(device)}
    for name in outcomes.columns:
        if str(name).startswith("label_") and outcomes[name].dtype.kind in "fiub":
            values = outcomes[name].to_numpy(np.float32)
            targets[str(name)] = torch.from_numpy(values).to(device)
    return targets


def free_bytes(device: torch.device) -> float:
    """Free memory of an accelerator; 0 of a CPU, which reads the cohort's file, shared by all processes."""
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0.0
