"""The analytic tumour against what is known of spheres and by Monte Carlo."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from pipeline.phantoms.patient import draw_patient, rigid_matrix
from pipeline.phantoms.phantom import cohort, occupancy, tumour_mask
from pipeline.phantoms.scanner import image_grid
from pipeline.phantoms.tumour import TumourField, sphere_rule
from pipeline.settings.phantom import PhantomSettings

SETTINGS = PhantomSettings()
TUMOUR = draw_patient(4, SETTINGS).tumour


def test_sphere_rule_integrates_polynomials() -> None:
    units, weights = sphere_rule(8)
    assert weights.sum() == pytest.approx(4 * pi)
    # ∫ x² y² dΩ = 4π/15
    assert weights @ (units[0] ** 2 * units[1] ** 2) == pytest.approx(4 * pi / 15)


def test_a_sphere_has_its_radius() -> None:
    ball = replace(TUMOUR, semi_axes=(1.0, 1.0, 1.0), lobes=(0.0, 0.0), volume_ml=4 / 3 * pi)  # 10 mm
    field = TumourField(ball)
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (3, 500)) + np.array(ball.centre_mm)[:, None]
    exact = np.linalg.norm(points - np.array(ball.centre_mm)[:, None], axis=0) - 10
    np.testing.assert_allclose(field.distance(points), exact, atol=1e-9)


def inside_by_chance(field: TumourField, count: int = 400_000) -> tuple[np.ndarray, float]:
    half = field.reach_mm
    points = np.random.default_rng(1).uniform(-half, half, (3, count))
    points += np.array(field.tumour.centre_mm)[:, None]
    inside = field.distance(points) < 0
    return points[:, inside], inside.mean() * (2 * half) ** 3 / 1000


def test_volume_mean_and_heterogeneity_by_monte_carlo() -> None:
    gentle = replace(TUMOUR, heterogeneity=0.2)  # the floor of a tenth of the mean is not reached
    field = TumourField(gentle)
    points, volume_ml = inside_by_chance(field)
    assert volume_ml == pytest.approx(gentle.volume_ml, rel=0.01)
    uptake = field.uptake(points)
    assert uptake.mean() == pytest.approx(gentle.mean_suv, rel=0.005)
    assert uptake.std() / uptake.mean() == pytest.approx(0.2, rel=0.02)


def test_masks_hold_the_stated_volume() -> None:
    sizes = sorted(cohort(SETTINGS), key=lambda p: p.tumour.volume_ml)
    for patient in (sizes[0], sizes[len(sizes) // 2], sizes[-1]):
        grid = image_grid(patient, SETTINGS.ct_shape, SETTINGS.ct_spacing_mm)
        share = occupancy(TumourField(patient.tumour), grid, rigid_matrix(patient))
        assert share.sum() * grid.voxel_ml() == pytest.approx(patient.tumour.volume_ml, rel=0.005)
        # The majority rule moves a surface of radius r inwards by about h² / (12 r), so a
        # volume shrinks by h² / (4 r²): 3 % at 7 mm; as much again for few voxels.
        mask = tumour_mask(TumourField(patient.tumour), grid, rigid_matrix(patient))
        tolerance = 0.08 if patient.tumour.volume_ml < 8 else 0.02
        assert mask.sum() * grid.voxel_ml() == pytest.approx(patient.tumour.volume_ml, rel=tolerance)
