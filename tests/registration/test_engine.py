"""ANTs: what it returns is a rigid transform, and what it refuses is reported."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pipeline.errors import PipelineError, RegistrationError
from pipeline.registration.body_mask import BodyPair, make_body
from pipeline.registration.engine import rigid
from pipeline.volumes.resample import coarsen


@pytest.fixture
def bodies(make_head, make_pose, make_grid) -> BodyPair:
    """A head, and the same head moved by 8 mm to the left."""
    poses = (np.eye(4), make_pose((0, 0, 0), (8, 0, 0)))
    heads = (make_head(pose, make_grid(), seed) for seed, pose in enumerate(poses))
    return BodyPair(*(make_body(coarsen(head, 6.0, -1000.0, -1000.0), "ct", "head") for head in heads))


def test_a_shift_is_recovered_from_a_start_that_is_off(bodies):
    start = np.eye(4)
    start[:3, 3] = (12.0, 3.0, -3.0)
    matrix = rigid(bodies, start)
    assert matrix[:3, :3] @ matrix[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.norm(matrix[:3, 3] - (8.0, 0.0, 0.0)) < 2.0


def test_a_failure_of_ants_is_a_failed_registration(bodies, monkeypatch):
    import ants

    def fail(**_):
        raise RuntimeError("Registration failed with error code 1")

    monkeypatch.setattr(ants, "registration", fail)
    with pytest.raises(RegistrationError, match="ANTs found no transform.*error code 1"):
        rigid(bodies, np.eye(4))


def test_a_missing_antspyx_is_named(bodies, monkeypatch):
    monkeypatch.setitem(sys.modules, "ants", None)
    with pytest.raises(PipelineError, match="antspyx is not installed"):
        rigid(bodies, np.eye(4))
