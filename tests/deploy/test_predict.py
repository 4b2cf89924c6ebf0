"""Risk of a patient from the members' Z-scores."""

from __future__ import annotations

import math

import pytest

from pipeline.deploy.estimate import (
    FoldRange,
    MemberScores,
    curve_days,
    estimate_risk,
    percentile_of,
    survival_times,
)
from pipeline.deploy.manifest import Manifest
from tests.deploy.synthetic_bundle import make_manifest, make_network


def test_members_without_risk_have_no_part_in_it() -> None:
    """Z of two folds 0.4 and 0.6: mean 0.5, SD √0.02; a network without survival is not among them."""
    linear, segments = make_manifest().members["linear"], make_network()
    manifest = make_manifest(members={"segments": segments, "linear": linear})
    scores = MemberScores(
        z={"linear": [0.4, 0.6]}, survival={"linear": curves(manifest, [0.9, 0.5], [0.7, 0.3])}
    )
    estimate = estimate_risk(manifest, scores)
    assert estimate is not None
    assert estimate.risk == pytest.approx(0.5) and estimate.spread == pytest.approx(math.sqrt(0.02))
    assert estimate.survival == pytest.approx({365.25: 0.8, 1000.0: 0.4}) and estimate.group == 2

    # Percentiles of −2 + 0.2·i at 5·i %: Z 0.4 lies at 60 %, 0.6 at 65 %.
    assert estimate.percentiles == FoldRange(pytest.approx(60), pytest.approx(65))
    assert estimate.survival_ranges[1000.0] == FoldRange(0.3, 0.5)


def test_the_curve_ends_with_the_shortest_follow_up() -> None:
    """The fold's hazard ends on day 800; the curve is the mean of the folds, and each fold's."""
    manifest = make_manifest()
    days = curve_days(manifest)
    assert days[0] == 0 and days[-1] == 800 and len(days) == 61
    assert survival_times(manifest) == (365.25, 1000.0, *days)
    scores = MemberScores({"linear": [0.0, 0.2]}, {"linear": curves(manifest, [0.9, 0.5], [0.7, 0.3])})
    estimate = estimate_risk(manifest, scores)
    assert estimate is not None and estimate.curve is not None
    assert estimate.curve.by_fold.shape == (2, 61) and estimate.curve.mean[-1] == pytest.approx(0.4)


def test_a_member_without_hazard_gives_no_curve() -> None:
    network = make_network("deepmts", survival=True)
    bare = network.model_copy(
        update={"folds": tuple(f.model_copy(update={"hazard": None}) for f in network.folds)}
    )
    manifest = make_manifest().model_copy(update={"members": {"network": bare}})
    assert curve_days(manifest) == () and survival_times(manifest) == manifest.horizons_days


def test_a_single_fold_has_no_range() -> None:
    manifest = make_manifest()
    estimate = estimate_risk(
        manifest, MemberScores({"linear": [0.4]}, {"linear": curves(manifest, [0.9, 0.5])})
    )
    assert estimate is not None and estimate.percentiles is None and estimate.survival_ranges == {}


def curves(manifest: Manifest, *folds: list[float]) -> list[list[float]]:
    """Survival at the horizons by fold, and the last one's value at every time of the curve."""
    return [[*at_horizons, *[at_horizons[-1]] * len(curve_days(manifest))] for at_horizons in folds]


def test_percentile_is_interpolated() -> None:
    quantiles = make_manifest().cohort.risk_percentiles
    assert percentile_of(0.0, quantiles) == pytest.approx(50)
    assert percentile_of(0.1, quantiles) == pytest.approx(52.5)
    assert percentile_of(-9, quantiles) == 0 and percentile_of(9, quantiles) == 100
