"""The whole cohort in memory, on the device that trains; batches are drawn by row number."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import TrainingError
from pipeline.training.checkpoint import digest
from pipeline.training.device import DeviceConfig
from pipeline.training.intensity import How, standardise
from pipeline.training.prefetch import Prefetcher

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.store.crops import Crop

log = logging.getLogger(__name__)
# What networks, activations and optimizer need beside the cohort, as a share of free memory.
SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class CohortTensors:
    """All patients of a fold, a row each.

    Attributes:
        ids: Patient ids, (N).
        images: (N, C, Z, Y, X) standardised; on the device, or in pinned host memory where
            they do not fit. float16 on an accelerator that trains in bf16 (it keeps three
            bits more), else float32.
        masks: (N, Z, Y, X) uint8, 1 = tumour; 0 where a patient has none.
        has_mask: (N) whether a patient has a mask.
        air: (N, C) float32, each patient's standardised air.
        time: (N) float32, days; None without outcomes.
        event: (N) float32, 1 = the event occurred; None without outcomes.
        clinical: (N, K) float32, encoded, or None.
        targets: Further targets by name: `centre` (N) numbers of centres, and every `label_*`
            column of the cohort table (N) float32, NaN where unknown.
        channels: Names of the image channels, (C).
        spacing_mm: (z, y, x).
        margin: Voxels stored beyond what networks see, on each side.
        device: Where batches go.
        stored: Hash of every array of every patient's crop.
        feed: What brings batches from host memory, or None where the cohort is on the device.
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
    stored: str = ""
    feed: Prefetcher | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """What networks see, (z, y, x): the store's shape without its margin (none where Z = 1)."""
        z, y, x = self.images.shape[2:]
        flat = z == 1
        return (z if flat else z - 2 * self.margin, y - 2 * self.margin, x - 2 * self.margin)

    def rows(self, ids: Sequence[str]) -> list[int]:
        """Row numbers of patients."""
        place = {patient_id: row for row, patient_id in enumerate(self.ids)}
        return [place[patient_id] for patient_id in ids]

    def take(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images, masks and row numbers of a batch, on the device."""
        import torch

        where = torch.tensor(list(rows), device=self.device)
        if self.feed is not None:
            return *self.feed.take(rows), where
        return self.images.index_select(0, where), self.masks.index_select(0, where), where

    def place(self) -> str:
        """Where images and masks lie, in words."""
        if self.feed is None:
            return "on the device"
        return "in pinned host memory" if self.images.is_pinned() else "in host memory"

    def fingerprint(self) -> str:
        """Hash of ids, outcomes, covariates, and of what the crops hold and how it was standardised."""
        parts = [self.air, self.time, self.event, self.has_mask.float()]
        parts += [self.targets[name] for name in sorted(self.targets)]
        parts.append(self.clinical)
        known = [part for part in parts if part is not None]
        return digest(
            self.stored.encode(), "\n".join(self.ids).encode(), *(p.cpu().numpy().tobytes() for p in known)
        )


def load_cohort(
    folder: Path, outcomes: pd.DataFrame, clinical: pd.DataFrame, how: How, machine: DeviceConfig
) -> CohortTensors:
    """Read and standardise every patient's crop and put the cohort on the device.

    Args:
        folder: Of crop stores, `{patient_id}.zarr`.
        outcomes: Patients to load, in this order; with time_days and event where the study has them.
        clinical: Encoded covariates of the same patients; no columns where none are used.
        how: Standardisation.
        machine: Where to.

    Raises:
        TrainingError: Crops differ in shape, channels or spacing; or cannot be standardised.
        CropError: A crop store cannot be trusted.
    """
    import torch

    from pipeline.store.crops import read_crop

    first: Crop | None = None
    images = masks = None
    has_mask = np.zeros(len(outcomes), dtype=bool)
    air: list[np.ndarray] = []
    stored: list[str] = []
    for row, patient_id in enumerate(outcomes.index):
        crop = read_crop(folder / f"{patient_id}.zarr")
        if first is None or images is None or masks is None:
            first = crop
            images = np.empty((len(outcomes), *crop.image.shape), dtype=np.float32)
            masks = np.zeros((len(outcomes), *crop.image.shape[1:]), dtype=np.uint8)
        _check_alike(crop, first)
        ready = standardise(crop, how)
        images[row] = ready.image
        air.append(ready.air)
        stored.append(str(sorted(crop.attributes.checksums.items())))
        if crop.mask is not None:
            has_mask[row] = True
            masks[row] = crop.mask
    if first is None or images is None or masks is None:
        raise TrainingError("there is no patient to load", where=str(folder))
    encoded = torch.from_numpy(clinical.to_numpy(np.float32)) if clinical.shape[1] else None
    on_device, kept, feed = _store(torch.from_numpy(images), torch.from_numpy(masks), machine)
    z, y, x = first.attributes.spacing_mm
    return CohortTensors(
        ids=tuple(outcomes.index),
        images=on_device,
        masks=kept,
        has_mask=torch.from_numpy(has_mask).to(machine.device),
        air=torch.from_numpy(np.stack(air)).to(machine.device),
        time=_column(outcomes, "time_days", machine.device),
        event=_column(outcomes, "event", machine.device),
        clinical=None if encoded is None else encoded.to(machine.device),
        targets=_targets(outcomes, machine.device),
        channels=tuple(first.attributes.channels),
        spacing_mm=(float(z), float(y), float(x)),
        margin=int(first.attributes.margin),
        device=machine.device,
        stored=digest(*(text.encode() for text in stored)),
        feed=feed,
    )


def _column(outcomes: pd.DataFrame, name: str, device: torch.device) -> torch.Tensor | None:
    import torch

    return torch.from_numpy(outcomes[name].to_numpy(np.float32)).to(device) if name in outcomes else None


def _targets(outcomes: pd.DataFrame, device: torch.device) -> dict[str, torch.Tensor]:
    import torch

    codes = {name: number for number, name in enumerate(sorted(set(outcomes["centre"])))}
    numbers = np.array([codes[name] for name in outcomes["centre"]], dtype=np.int64)
    found = {"centre": torch.from_numpy(numbers).to(device)}
    for name in outcomes.columns:
        if str(name).startswith("label_") and outcomes[name].dtype.kind in "fiub":
            values = outcomes[name].to_numpy(np.float32)
            found[str(name)] = torch.from_numpy(values).to(device)
    return found


def _check_alike(crop: Crop, first: Crop) -> None:
    ours, theirs = crop.attributes, first.attributes
    for name, got, expected in (
        ("shape", crop.image.shape, first.image.shape),
        ("channels", tuple(ours.channels), tuple(theirs.channels)),
        ("spacing", tuple(ours.spacing_mm), tuple(theirs.spacing_mm)),
        ("margin", ours.margin, theirs.margin),
    ):
        if got != expected:
            raise TrainingError(
                f"crops differ in {name}",
                where=f"patient {ours.patient_id}",
                expected=f"{expected}, as patient {theirs.patient_id}",
                got=str(got),
                action="remake the crops with one setting",
            )


def free_bytes(device: torch.device) -> float:
    """Free memory of an accelerator; a CPU's cohort is in its memory already."""
    import torch

    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def _store(
    images: torch.Tensor, masks: torch.Tensor, machine: DeviceConfig
) -> tuple[torch.Tensor, torch.Tensor, Prefetcher | None]:
    """The cohort where it is drawn from: the device, or host memory (pinned) where it does not fit."""
    device = machine.device
    if machine.half and device.type == "cuda":
        images = images.half()
    size, free = images.nbytes + masks.nbytes, free_bytes(device)
    if size <= SHARE_OF_MEMORY * free:
        log.info("cohort on the device (%s): %.2f GB of %.1f GB free", device, size / 1e9, free / 1e9)
        return images.to(device), masks.to(device), None
    log.warning(
        "cohort in host memory, fetched one batch ahead: it has %.2f GB, and of %.1f GB free on the device "
        "at most %.0f %% are given to it",
        size / 1e9,
        free / 1e9,
        100 * SHARE_OF_MEMORY,
    )
    if device.type == "cuda":
        images, masks = images.pin_memory(), masks.pin_memory()
    return images, masks, Prefetcher(images, masks, device)
