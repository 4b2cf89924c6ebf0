"""The whole cohort in memory, on the device that trains; batches are taken by row number."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.augment.transfer import sent
from pipeline.errors import TrainingError
from pipeline.training.checkpoint import digest
from pipeline.training.device import DeviceConfig
from pipeline.training.intensity import Standardisation, standardise
from pipeline.training.prefetch import ImageBatch, Prefetcher

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.store.attributes import CropAttributes
    from pipeline.store.crops import Crop

log = logging.getLogger(__name__)
SHARE_OF_MEMORY = 0.5
"""Share of free memory the cohort may take; the rest is for network, activations and optimizer."""


@dataclass(frozen=True)
class CohortTensors:
    """All patients of a fold, a row each.

    Attributes:
        ids: Patient ids, (N).
        images: (N, C, Z, Y, X) standardised; on the device, or in pinned host memory where
            they do not fit. float16 on an accelerator that trains in bf16 (float16 keeps three
            bits more), else float32.
        masks: (N, Z, Y, X) uint8, 1 = tumour, or the labels of `classes`; 0 where a patient has none.
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
        prefetcher: Copies batches from host memory; None where the cohort is on the device.
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
        """Say which batch will be taken next, so that it can be fetched from host memory meanwhile."""
        if self.prefetcher is not None:
            self.prefetcher.announce(rows)

    def location(self) -> str:
        """Where images and masks are kept, in words."""
        if self.prefetcher is None:
            return "on the device"
        return "in pinned host memory" if self.images.is_pinned() else "in host memory"

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
    folder: Path,
    outcomes: pd.DataFrame,
    clinical: pd.DataFrame,
    standardisation: Standardisation,
    device_config: DeviceConfig,
) -> CohortTensors:
    """Read and standardise every patient's crop and put the cohort on the device.

    Args:
        folder: Folder of the crop stores, `{patient_id}.zarr`.
        outcomes: Patients to load, in this order; with time_days and event where the study has them.
        clinical: Encoded covariates of the same patients; no columns where none are used.
        standardisation: How images are standardised.
        device_config: The device, and whether it computes in bf16.

    Raises:
        TrainingError: Crops differ in shape, channels or spacing; or cannot be standardised.
        CropError: A crop store cannot be trusted.
    """
    import torch

    crops = _read_crops(folder, list(outcomes.index), standardisation)
    device = device_config.device
    stored = _store(torch.from_numpy(crops.images), torch.from_numpy(crops.masks), device_config)
    encoded = torch.from_numpy(clinical.to_numpy(np.float32)) if clinical.shape[1] else None
    z, y, x = crops.attributes.spacing_mm
    return CohortTensors(
        ids=tuple(outcomes.index),
        images=stored.images,
        masks=stored.masks,
        has_mask=torch.from_numpy(crops.has_mask).to(device),
        air=torch.from_numpy(crops.air).to(device),
        time=_column(outcomes, "time_days", device),
        event=_column(outcomes, "event", device),
        clinical=None if encoded is None else encoded.to(device),
        targets=_targets(outcomes, device),
        channels=tuple(crops.attributes.channels),
        spacing_mm=(float(z), float(y), float(x)),
        margin=int(crops.attributes.margin),
        device=device,
        classes=crops.classes,
        crops_digest=crops.digest,
        prefetcher=stored.prefetcher,
    )


@dataclass(frozen=True)
class _CropArrays:
    """Crops of all patients as they were read.

    Attributes:
        images: (N, C, Z, Y, X) float32, standardised.
        masks: (N, Z, Y, X) uint8.
        has_mask: (N) bool.
        air: (N, C) float32.
        attributes: Attributes of the first patient's crop.
        classes: Names of the classes of the masks.
        digest: Hash of every array as it is stored.
    """

    images: NDArray[np.float32]
    masks: NDArray[np.uint8]
    has_mask: NDArray[np.bool_]
    air: NDArray[np.float32]
    attributes: CropAttributes
    classes: tuple[str, ...]
    digest: str


def _read_crops(folder: Path, ids: Sequence[str], standardisation: Standardisation) -> _CropArrays:
    from pipeline.store.crops import read_crop

    if not ids:
        raise TrainingError("there is no patient to load", where=str(folder))
    first = read_crop(folder / f"{ids[0]}.zarr")
    images = np.empty((len(ids), *first.image.shape), dtype=np.float32)
    masks = np.zeros((len(ids), *first.image.shape[1:]), dtype=np.uint8)
    has_mask = np.zeros(len(ids), dtype=bool)
    air: list[NDArray[np.float32]] = []
    checksums: list[str] = []
    classes: dict[str, tuple[str, ...]] = {}
    for row, patient_id in enumerate(ids):
        crop = read_crop(folder / f"{patient_id}.zarr") if row else first
        _check_alike(crop, first)
        standardised = standardise(crop, standardisation)
        images[row] = standardised.image
        air.append(standardised.air)
        checksums.append(str(sorted(crop.attributes.checksums.items())))
        if crop.mask is not None:
            has_mask[row] = True
            classes[patient_id] = crop.attributes.classes
            masks[row] = crop.mask
    crops_digest = digest(*(text.encode() for text in checksums))
    named = _one_list_of_classes(classes)
    return _CropArrays(images, masks, has_mask, np.stack(air), first.attributes, named, crops_digest)


def _one_list_of_classes(classes: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The classes that all masks tell apart; empty where no patient has a mask."""
    first = next(iter(classes), None)
    for patient_id, names in classes.items():
        if first is not None and names != classes[first]:
            raise TrainingError(
                "masks differ in their classes",
                where=f"patient {patient_id}",
                expected=f"{', '.join(classes[first]) or 'none'}, as patient {first}",
                got=", ".join(names) or "none",
                action="remake the crops with one setting of contours.classes",
            )
    return () if first is None else classes[first]


def _check_alike(crop: Crop, first: Crop) -> None:
    attributes, reference = crop.attributes, first.attributes
    for name, got, expected in (
        ("shape", crop.image.shape, first.image.shape),
        ("channels", tuple(attributes.channels), tuple(reference.channels)),
        ("spacing", tuple(attributes.spacing_mm), tuple(reference.spacing_mm)),
        ("margin", attributes.margin, reference.margin),
    ):
        if got != expected:
            raise TrainingError(
                f"crops differ in {name}",
                where=f"patient {attributes.patient_id}",
                expected=f"{expected}, as patient {reference.patient_id}",
                got=str(got),
                action="remake the crops with one setting",
            )


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
    """Free memory of an accelerator; infinite for a CPU, whose memory holds the cohort already."""
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


@dataclass(frozen=True)
class _StoredImages:
    """Images and masks at the place from which batches are taken."""

    images: torch.Tensor
    masks: torch.Tensor
    prefetcher: Prefetcher | None


def _store(images: torch.Tensor, masks: torch.Tensor, device_config: DeviceConfig) -> _StoredImages:
    """Put the cohort on the device, or in host memory (pinned) where it does not fit."""
    device = device_config.device
    if device_config.bf16 and device.type == "cuda":
        images = images.half()
    size, free = images.nbytes + masks.nbytes, free_bytes(device)
    if size <= SHARE_OF_MEMORY * free:
        log.info("cohort on the device (%s): %.2f GB of %.1f GB free", device, size / 1e9, free / 1e9)
        return _StoredImages(images.to(device), masks.to(device), None)
    log.warning(
        "cohort in host memory, fetched one batch ahead: it has %.2f GB, and of %.1f GB free on the device "
        "at most %.0f %% are given to it",
        size / 1e9,
        free / 1e9,
        100 * SHARE_OF_MEMORY,
    )
    if device.type == "cuda":
        images, masks = images.pin_memory(), masks.pin_memory()
    return _StoredImages(images, masks, Prefetcher(images, masks, device))
