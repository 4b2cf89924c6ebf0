"""The body is separated from the couch."""

from __future__ import annotations

import numpy as np

from pipeline.registration.body_mask import coarse_volume, make_body


def test_the_couch_is_not_body(write_head, make_grid):
    body = make_body(coarse_volume(write_head("T") / "ct_hu.nii.gz", "ct", 4.0), "ct", "T")
    points = body.grid.points(np.argwhere(body.mask))
    couch = points[points[:, 1] > 103]
    assert len(couch) == 0
    assert body.image[~body.mask].mean() < -900
