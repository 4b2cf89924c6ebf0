"""Risk of a patient from the members' Z-scores."""

from __future__ import annotations

import math

import pytest

from pipeline.deploy.predict import MemberScores, estimate_risk, percentile_of
from tests.deploy.synthetic_bundle import make_manifest, make_network


def test_members_without_risk_have_no_part_in_it() -> None:
    """Z of two folds 0.4 and 0.6: mean 0.5, SD √0.02; a network without survival is not among them."""
    linear, segments = make_manifest().members["linear"], make_network()
    manifest = make_manifest(members={"segments": segments, "linear": linear})
    scores = MemberScores(z={"linear": [0.4, 0.6]}, survival=[[0.9, 0.5], [0.7, 0.3]])
    estimate = estimate_risk(manifest, scores)
    assert estimate is not None
    assert estimate.risk == pytest.approx(0.5) and estimate.spread == pytest.approx(math.sqrt(0.02))
    assert estimate.survival == pytest.approx({365.25: 0.8, 1000.0: 0.4}) and estimate.group == 2


def test_percentile_is_interpolated() -> None:
    quantiles = make_manifest().cohort.risk_percentiles
    assert percentile_of(0.0, quantiles) == pytest.approx(50)
    assert percentile_of(0.1, quantiles) == pytest.approx(52.5)
    assert percentile_of(-9, quantiles) == 0 and percentile_of(9, quantiles) == 100
