"""Refinement by correlation."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.registration.body_mask import BodyPair, make_body
from pipeline.registration.refine import refine
from pipeline.volumes.resample import coarsen


def coarse_body(volume):
    return make_body(coarsen(volume, 2.0, -1000.0, -1000.0), "ct", "head")


def test_refinement_ends_at_the_truth_and_stays_there(make_pose, make_grid, make_head, landmarks):
    coarse = make_grid((54, 80, 80))
    truth = make_pose((4, -3, 5), (6, -5, 4))
    fixed, moving = (coarse_body(make_head(m, coarse, seed)) for m, seed in ((np.eye(4), 1), (truth, 2)))
    off = truth @ make_pose((3, 3, -3), (4, 4, -4))
    assert np.linalg.norm((off - truth)[:3, 3]) > 6.0
    refined = refine(BodyPair(fixed, moving), off, (8.0, 4.0, 2.0))
    difference = refined - truth
    assert np.linalg.norm(landmarks @ difference[:3, :3].T + difference[:3, 3], axis=1).max() < 0.5
    assert refined[:3, :3] @ refined[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)
