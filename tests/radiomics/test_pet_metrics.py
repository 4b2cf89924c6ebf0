"""PET metrics by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.pet_metrics import PEAK_RADIUS_MM, PET_METRIC_COLUMNS, pet_metrics, suv_peak

SPACING = (2.0, 2.0, 2.0)
VOXEL_ML = 0.008


def feature_image(values: np.ndarray, mask: np.ndarray, spacing: tuple = SPACING) -> FeatureImage:
    return FeatureImage(values.astype(np.float32), mask, np.ones(mask.shape, bool), spacing)


def two_cubes() -> FeatureImage:
    """Cubes of 27 voxels: 10 g/mL, one voxel of 20; and 3 g/mL, 16 mm and 12 mm away; 1 g/mL around."""
    image = np.ones((24, 24, 24))
    mask = np.zeros(image.shape, bool)
    image[5:8, 5:8, 5:8], image[6, 6, 6] = 10, 20
    image[13:16, 11:14, 5:8] = 3
    mask[5:8, 5:8, 5:8] = mask[13:16, 11:14, 5:8] = True
    return feature_image(image, mask)


def test_by_hand() -> None:
    metrics = pet_metrics(two_cubes())
    assert tuple(metrics) == PET_METRIC_COLUMNS
    total = 26 * 10 + 20 + 27 * 3
    expected = {
        "suvmax": 20,
        "suvmean": total / 54,
        "mtv_41": 27 * VOXEL_ML,  # at or above 8.2
        "mtv_2.5": 54 * VOXEL_ML,
        "mtv_4.0": 27 * VOXEL_ML,
        "tlg": total * VOXEL_ML,
        "tlg_41": 280 * VOXEL_ML,
        "tlg_2.5": total * VOXEL_ML,
        "tlg_4.0": 280 * VOXEL_ML,
        "volume_ml": 54 * VOXEL_ML,
        "lesions": 2,
        "dmax_mm": 20,  # 16 and 12 mm
        "rim_suvmean": 1,
    }
    for name, value in expected.items():
        assert metrics[f"pet_index_{name}"] == pytest.approx(value, rel=1e-6), name


def test_voxels_on_the_threshold_count() -> None:
    cubes = two_cubes()
    image = cubes.values.copy()
    image[cubes.mask & (image == 3)] = 4.0
    assert pet_metrics(replace(cubes, values=image))["pet_index_mtv_4.0"] == pytest.approx(54 * VOXEL_ML)


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 2.0, 1.5), (4.0, 4.0, 4.0), (9.0, 8.0, 7.0)])
@pytest.mark.parametrize("corner", [False, True])
def test_suvpeak_equals_a_direct_search(spacing: tuple, corner: bool) -> None:
    rng = np.random.default_rng(2)
    image = rng.gamma(3, 2, (12, 14, 13))
    mask = np.zeros(image.shape, bool)
    mask[(slice(0, 3),) * 3 if corner else (slice(4, 8),) * 3] = True
    inside = np.ones(image.shape, bool)
    inside[:, :, :2] = not corner
    places = np.stack(np.indices(image.shape), -1) * np.asarray(spacing)
    best = -np.inf
    for centre in places[mask]:
        near = (((places - centre) ** 2).sum(-1) <= PEAK_RADIUS_MM**2) & inside
        if near.any():
            best = max(best, image.astype(np.float32)[near].mean(dtype=float))
    peak = suv_peak(replace(feature_image(image, mask, spacing), inside=inside))
    assert peak == pytest.approx(best, rel=1e-12)


def test_the_sphere_holds_one_cubic_centimetre() -> None:
    assert 4 / 3 * np.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000)


def test_the_rim_sees_only_what_was_imaged() -> None:
    cubes = two_cubes()
    image = cubes.values.copy()
    image[:, :, 8:] = 5  # the rim beyond x = 8
    inside = np.ones(image.shape, bool)
    inside[:, :, 8:] = False
    assert pet_metrics(replace(cubes, values=image))["pet_index_rim_suvmean"] > 1.5
    assert pet_metrics(replace(cubes, values=image, inside=inside))["pet_index_rim_suvmean"] == pytest.approx(
        1
    )
    whole = feature_image(np.ones((4, 4, 4)), np.ones((4, 4, 4), bool))
    assert np.isnan(pet_metrics(whole)["pet_index_rim_suvmean"])


def test_touching_by_a_corner_is_one_lesion() -> None:
    mask = np.zeros((8, 8, 8), bool)
    mask[1:3, 1:3, 1:3] = mask[3:5, 3:5, 3:5] = True
    metrics = pet_metrics(feature_image(np.ones(mask.shape), mask))
    assert (metrics["pet_index_lesions"], metrics["pet_index_dmax_mm"]) == (1, 0)
