"""Batches: the stored image, or the same random transformations again."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipeline.training.batches import plain_batch, training_batch
from pipeline.training.context import FoldJob
from tests.training.synthetic_study import context_of

Job = Callable[..., FoldJob]


def test_plain_batches_are_the_stored_image(job: Job) -> None:
    context = context_of(job())
    batch = plain_batch(context.cohort, [3, 1])
    assert torch.equal(batch.image, context.cohort.take([3, 1]).images)
    assert batch.ids == (context.cohort.ids[3], context.cohort.ids[1])


def test_batches_repeat_and_have_their_own_air(job: Job) -> None:
    context = context_of(job())
    rows = context.sampler.batch_at(0)
    far = context.training.augment.model_copy(update={"translation_voxels": 12.0})
    first, again = (training_batch(context.cohort, rows, far, 5) for _ in range(2))
    assert torch.equal(first.image, again.image) and torch.equal(first.targets["mask"], again.targets["mask"])
    other = training_batch(context.cohort, rows, far, 6)
    assert not torch.equal(first.image, other.image)
    air = context.cohort.air[first.rows]
    lowest = first.image[:, 1].flatten(1).min(1).values  # CT: nothing is darker than air
    assert torch.allclose(lowest, air[:, 1], atol=1e-4)


def test_batches_are_bent_and_masks_with_them(job: Job) -> None:
    """Elastic deformation alone: image and mask are read from elsewhere, and again from the same place."""
    context = context_of(job())
    rows = context.sampler.batch_at(0)
    still = {"translation_voxels": 0.0, "rotation_deg": 0.0, "flip_sagittal": False}
    unbent = context.training.augment.model_copy(update=still)
    bent = unbent.model_copy(update={"elastic_voxels": 3.0, "elastic_spacing_voxels": 8.0})
    first, again = (training_batch(context.cohort, rows, bent, 5) for _ in range(2))
    plain = training_batch(context.cohort, rows, unbent, 5)
    for value, same, other in (
        (first.image, again.image, plain.image),
        (first.targets["mask"], again.targets["mask"], plain.targets["mask"]),
    ):
        assert torch.equal(value, same) and not torch.equal(value, other)
