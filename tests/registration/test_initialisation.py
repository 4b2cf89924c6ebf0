"""Initial transforms: what they hold, and when two of them differ."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.registration.body_mask import BodyPair, make_body
from pipeline.registration.initialisation import REFINED, differ, initial_transforms
from pipeline.volumes.resample import coarsen

CENTRE = np.zeros(3)


@pytest.mark.parametrize(
    ("rotation", "shift", "expected"),
    [((0, 0, 0), (14, 0, 0), False), ((0, 0, 0), (16, 0, 0), True), ((0, 0, 7), (0, 0, 0), False),
     ((9, 0, 0), (0, 0, 0), True)],
)  # fmt: skip
def test_transforms_differ_by_15_mm_or_8_degrees(make_pose, rotation, shift, expected):
    assert differ(np.eye(4), make_pose(rotation, shift), CENTRE) is expected


def test_the_plain_starts_are_among_them_and_the_best_is_near_the_truth(make_head, make_pose, make_grid):
    truth = make_pose((4, -3, 5), (30, -20, 25))
    heads = (make_head(pose, make_grid(), seed) for seed, pose in ((1, np.eye(4)), (2, truth)))
    bodies = BodyPair(*(make_body(coarsen(head, 4.0, -1000.0, -1000.0), "ct", "head") for head in heads))
    transforms = initial_transforms(bodies)
    origins = [transform.origin for transform in transforms]
    assert origins.count("as scanned") == origins.count("centres of the bodies") == 1
    assert 1 <= origins.count("search") <= REFINED
    similarities = [transform.fit.similarity for transform in transforms]
    assert similarities == sorted(similarities, reverse=True)
    assert not differ(transforms[0].fit.matrix, truth, CENTRE)
