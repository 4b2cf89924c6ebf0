"""Perturbations of images and contours: rotation, noise, random contours."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.perturbations import (
    CORRELATION_MM,
    noise_sd,
    noisy,
    perturbations,
    random_field,
    randomised,
    rotated,
    surroundings,
)
from pipeline.radiomics.stability_patient import stability_patient
from pipeline.settings.radiomics import RadiomicsSettings
from tests.radiomics.patient_files import files_of
from tests.radiomics.test_stability_patient import cohort

SHAPE, SPACING = (20, 60, 80), (3.0, 2.0, 1.5)


def points() -> np.ndarray:
    """Points (z, y, x, 3) in mm about the centre."""
    index = np.stack(np.indices(SHAPE), -1)
    return (index - (np.array(SHAPE) - 1) / 2) * SPACING


def ellipsoid(long_axis: np.ndarray) -> np.ndarray:
    """Semi-axes 24 mm along a direction within slices, 12 mm across."""
    along = points() @ long_axis
    return (along / 24) ** 2 + ((points() ** 2).sum(-1) - along**2) / 12**2 <= 1


def image(mask: np.ndarray, values: np.ndarray | None = None) -> FeatureImage:
    array = np.zeros(SHAPE, np.float32) if values is None else values.astype(np.float32)
    return FeatureImage(array, mask, np.ones(SHAPE, bool), SPACING)


@pytest.mark.parametrize("degrees", [-30.0, 20.0])
def test_a_rotated_ellipsoid_is_the_ellipsoid_of_the_rotated_axis(degrees: float) -> None:
    """Positive turns y towards x; voxels are not square, so that the angle must be one of millimetres."""
    theta = np.radians(degrees)
    turned = np.array([0.0, np.cos(theta), np.sin(theta)])
    start = image(ellipsoid(np.array([0.0, 1.0, 0.0])), points()[..., 1])
    result = rotated(start, degrees)
    assert result is not None
    assert result.mask.shape == SHAPE  # the margin holds the whole image
    expected = ellipsoid(turned)
    dice = 2 * (result.mask & expected).sum() / (result.mask.sum() + expected.sum())
    assert dice > 0.96  # voxels of 3 × 2 × 1.5 mm
    gradient = points() @ turned
    assert result.values[expected] == pytest.approx(gradient[expected], abs=0.05)


def test_noise_is_estimated_and_added() -> None:
    rng = np.random.default_rng(0)
    smooth = 100 * np.sin(points()[..., 1] / 15)
    start = image(ellipsoid(np.array([0.0, 1.0, 0.0])), smooth + rng.normal(0, 3, SHAPE))
    assert noise_sd(start) == pytest.approx(3, rel=0.05)
    cut = surroundings(start).values
    added = noisy(start, 1).values - cut
    assert added.std() == pytest.approx(3, rel=0.05)
    assert np.array_equal(noisy(start, 1).values, noisy(start, 1).values)
    assert np.corrcoef(added.ravel(), (noisy(start, 2).values - cut).ravel())[0, 1] < 0.02


def test_a_random_field_is_standard_and_smooth() -> None:
    rng = np.random.default_rng(1)
    places = rng.uniform(-300, 300, (4000, 3))
    fields = np.array([random_field(places, seed) for seed in range(20)])
    assert abs(fields.mean()) < 0.05 and fields.std() == pytest.approx(1, rel=0.05)
    # The correlation at distance d is that of a Gaussian: exp(-d² / 2 L²).
    nearby = places + np.array([0.0, CORRELATION_MM, 0.0])
    moved = np.array([random_field(nearby, seed) for seed in range(20)])
    assert np.corrcoef(fields.ravel(), moved.ravel())[0, 1] == pytest.approx(np.exp(-0.5), abs=0.05)


def test_random_contours_move_the_surface_by_their_sd() -> None:
    radii = np.linalg.norm(np.stack(np.indices((56, 56, 56)), -1) - 27.5, axis=-1)
    ball = radii <= 18
    everywhere = np.ones(ball.shape, bool)
    start = FeatureImage(ball.astype(np.float32), ball, everywhere, (1.0, 1.0, 1.0))
    results = [randomised(start, 2.0, seed) for seed in range(20)]
    masks = np.stack([result.mask for result in results if result is not None])
    assert len({int(mask.sum()) for mask in masks}) > 15
    # Share of voxels inside, by radius: a normal distribution about 18 mm.
    shares = [masks[:, np.abs(radii - radius) < 0.5].mean() for radius in (16, 18, 20)]
    assert shares == pytest.approx([0.84, 0.5, 0.16], abs=0.08)


def test_the_same_contour_moves_alike_on_every_grid() -> None:
    fine = image((points() ** 2).sum(-1) <= 15**2)
    part = (slice(None), slice(0, None, 2), slice(0, None, 2))
    coarse = FeatureImage(fine.values[part], fine.mask[part], fine.inside[part], (3.0, 4.0, 3.0))
    results = [randomised(case, 2.0, 5) for case in (fine, coarse)]
    assert results[0] is not None and results[1] is not None
    first, second = results[0].mask[part], results[1].mask
    assert 2 * (first & second).sum() / (first.sum() + second.sum()) > 0.9


def test_names_and_draws_are_the_same_in_every_run() -> None:
    settings = RadiomicsSettings(
        perturbations=("volume", "shift", "contour", "rotation", "noise"), perturb_repeats=2
    )
    start = image(ellipsoid(np.array([0.0, 1.0, 0.0])), np.random.default_rng(2).normal(size=SHAPE))
    first, second = (list(perturbations(settings, name)) for name in ("P1", "P2"))
    assert [p.name for p in first] == [
        "as drawn", "grown", "shrunk", "moved -z", "moved +z", "moved -y", "moved +y", "moved -x", "moved +x",
        "contour 1", "contour 2", "rotated -10°", "rotated +10°", "noise 1", "noise 2",
    ]  # fmt: skip
    for own, other in zip(first, second, strict=True):
        once, again, elsewhere = own.apply(start, "pet"), own.apply(start, "pet"), other.apply(start, "pet")
        assert once is not None and again is not None and elsewhere is not None
        assert np.array_equal(once.values, again.values) and np.array_equal(once.mask, again.mask)
        alike = np.array_equal(once.values, elsewhere.values) and np.array_equal(once.mask, elsewhere.mask)
        assert alike != own.name.startswith(("contour", "noise"))
    of_pet, of_ct = (first[-1].apply(start, modality) for modality in ("pet", "ct"))
    assert of_pet is not None and of_ct is not None and not np.array_equal(of_pet.values, of_ct.values)


def test_a_table_of_all_perturbations(tmp_path: Path) -> None:
    (path,) = cohort(tmp_path, 1)
    kinds = ("rotation", "contour", "noise")
    settings = RadiomicsSettings(feature_set="demo", perturbations=kinds, perturb_repeats=1)
    out = tmp_path / "rows.parquet"
    stability_patient(files_of(path), out, settings, "stop")
    rows = pd.read_parquet(out).set_index("perturbation")
    assert list(rows.index) == ["as drawn", "rotated -10°", "rotated +10°", "contour 1", "noise 1"]
    assert rows.drop(columns="patient_id").notna().all(axis=None)
    # Noise leaves the shape, a random contour does not; both reach the PET metrics.
    volume, suvmax = rows["pet_index_volume_ml"], rows["pet_index_suvmax"]
    assert volume["noise 1"] == volume["as drawn"] != volume["contour 1"]
    assert suvmax["noise 1"] != suvmax["as drawn"]
