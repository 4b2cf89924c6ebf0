"""Batches as networks and losses take them: augmented in one resampling, on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.augment.affine import draw_affine, identity, resample
from pipeline.augment.elastic import ElasticField, draw_elastic
from pipeline.settings.training import AugmentSettings
from pipeline.training.dataset import CohortTensors

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Batch:
    """Patients of one forward pass.

    Attributes:
        ids: Patient ids, (B).
        rows: (B) their row numbers in the cohort, on the device.
        image: (B, C, Z, Y, X) float32.
        clinical: (B, K) float32, or None.
        targets: What losses compare outputs with: mask, mask_known, image, centre, each label of the
            cohort table and, where the study has outcomes, time and event.
    """

    ids: tuple[str, ...]
    rows: torch.Tensor
    image: torch.Tensor
    clinical: torch.Tensor | None
    targets: Tensors

    def part(self, start: int, stop: int) -> Batch:
        """Some of the patients."""
        clinical = None if self.clinical is None else self.clinical[start:stop]
        targets = {name: value[start:stop] for name, value in self.targets.items()}
        return Batch(self.ids[start:stop], self.rows[start:stop], self.image[start:stop], clinical, targets)


def training_batch(cohort: CohortTensors, rows: Sequence[int], augment: AugmentSettings, seed: int) -> Batch:
    """A batch for training, each patient rotated, translated, mirrored and deformed at random.

    Args:
        cohort: All patients.
        rows: Row numbers of the batch's patients.
        augment: Ranges of the transformations; switched off, the crop's centre is taken as it is.
        seed: Seed of this iteration; the same seed gives the same batch, bit for bit.
    """
    if not augment.enabled:
        return plain_batch(cohort, rows)
    import torch

    generator = torch.Generator().manual_seed(seed)
    flat = cohort.images.shape[2] == 1
    matrices = draw_affine(len(rows), augment, cohort.spacing_mm, flat=flat, generator=generator)
    return _batch(cohort, rows, matrices, draw_elastic(len(rows), augment, cohort.shape, generator))


def plain_batch(cohort: CohortTensors, rows: Sequence[int]) -> Batch:
    """A batch for prediction: the crop's centre, without random transformations."""
    if cohort.margin == 0:
        return _batch(cohort, rows, None)
    return _batch(cohort, rows, identity(len(rows)))


def _batch(
    cohort: CohortTensors,
    rows: Sequence[int],
    matrices: torch.Tensor | None,
    field: ElasticField | None = None,
) -> Batch:
    stored, index = cohort.take(rows), cohort.on_device(rows)
    if matrices is None:
        image, mask = stored.images.float(), stored.masks.float()
    else:
        air = cohort.air[index]
        image, resampled = resample(
            stored.images, stored.masks, matrices, air=air, shape=cohort.shape, field=field
        )
        assert resampled is not None  # a mask was given
        mask = resampled
    targets = {name: values[index] for name, values in cohort.targets.items()}
    if cohort.time is not None and cohort.event is not None:
        targets.update(time=cohort.time[index], event=cohort.event[index])
    targets.update(mask=mask, mask_known=cohort.has_mask[index], image=image)
    clinical = None if cohort.clinical is None else cohort.clinical[index]
    return Batch(tuple(cohort.ids[row] for row in rows), index, image, clinical, targets)
