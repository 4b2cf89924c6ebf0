"""Similarity and overlap of two bodies."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.registration.body_mask import BodyPair, coarse_volume, make_body
from pipeline.registration.quality import measure
from pipeline.settings.geometry import RegistrationSettings
from pipeline.volumes.resample import coarsen


def test_overlap_and_similarity_of_a_body_with_itself(write_head):
    body = make_body(coarse_volume(write_head("T") / "ct_hu.nii.gz", "ct", 4.0), "ct", "T")
    same = measure(BodyPair(body, body), np.eye(4))
    assert (same.similarity, same.overlap) == (pytest.approx(1.0), pytest.approx(1.0))
    far = np.eye(4)
    far[0, 3] = 500.0
    assert measure(BodyPair(body, body), far).similarity == -1.0


@pytest.mark.parametrize(
    ("shape", "centre"),
    [((54, 80, 80), (0, 0, 0)), ((26, 80, 80), (0, 0, 60)), ((30, 80, 80), (0, 0, -50))],
    ids=["whole head and neck", "skull only", "neck only"],
)
def test_the_limit_of_similarity_lies_between_aligned_and_astray(
    make_pose, make_grid, make_head, shape, centre
):
    # By the phantom's own truth: another head of 5 to 8 % other size, laid right, is above the
    # limit; the same head 20 mm off is below it.
    fixed, same, other = (
        make_body(coarsen(make_head(np.eye(4), on, seed, scale), 4.0, -1000.0, -1000.0), "ct", "head")
        for on, seed, scale in (
            (make_grid(), 1, (1.0, 1.0, 1.0)),
            (make_grid(shape, centre=centre), 2, (1.0, 1.0, 1.0)),
            (make_grid(shape, centre=centre), 3, (1.08, 0.94, 1.05)),
        )
    )
    limit = RegistrationSettings().min_similarity
    assert measure(BodyPair(fixed, same), np.eye(4)).similarity > 3 * limit
    assert measure(BodyPair(fixed, other), np.eye(4)).similarity > 1.3 * limit
    for shift in ((20, 0, 0), (0, 20, 0), (0, 0, 20)):
        assert measure(BodyPair(fixed, same), make_pose((0, 0, 0), shift)).similarity < limit
