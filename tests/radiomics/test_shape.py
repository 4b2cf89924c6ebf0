"""Mesh area, volume and diameters equal PyRadiomics' C code on masks of every kind."""

import numpy as np
import pytest
from radiomics import cShape

from pipeline.radiomics import shape
from pipeline.radiomics.shape import mesh_coefficients, shape_features


def masks() -> list[np.ndarray]:
    from scipy import ndimage

    rng = np.random.default_rng(0)
    shapes = [np.ones((1, 1, 1), bool), np.ones((1, 1, 7), bool), np.ones((5, 1, 6), bool)]
    for number in range(60):
        shape = rng.integers(1, 14, 3)
        noise = rng.random(shape)
        if number % 2:
            shapes.append(noise < rng.uniform(0.05, 0.95))
        else:
            shapes.append(ndimage.gaussian_filter(noise, 1.5) > 0.5)
    return [np.pad(m, 1) for m in shapes if m.any()]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.27, 0.977, 0.977), (0.7, 2.0, 4.9)])
@pytest.mark.parametrize("at_once", [2000, 5])
def test_equal_to_the_compiled_mesh(
    spacing: tuple[float, float, float], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 5 at once sends the diameters through the convex hull and through many blocks
    monkeypatch.setattr(shape, "PAIRS_AT_ONCE", at_once)
    for mask in masks():
        area, volume, diameters = cShape.calculate_coefficients(mask, np.array(spacing))
        mesh = mesh_coefficients(mask, spacing)
        assert mesh.surface_mm2 == pytest.approx(area, rel=1e-10)
        assert mesh.volume_mm3 == pytest.approx(volume, rel=1e-10)
        assert mesh.diameters_mm == pytest.approx(diameters, rel=1e-12)


@pytest.mark.filterwarnings("error")
def test_equal_axes_stay_real() -> None:
    for radius in np.arange(1.5, 8, 0.25):
        z, y, x = np.indices((17, 17, 17)) - 8
        mask = z**2 + y**2 + x**2 <= radius**2
        axes = shape_features(("MajorAxisLength", "LeastAxisLength"), mask, (2.0, 2.0, 2.0))
        assert axes["MajorAxisLength"] == pytest.approx(axes["LeastAxisLength"])


def test_one_voxel_by_hand() -> None:
    # An octahedron of half axes 1, 2, 3 mm: volume 4/3 · abc, diameter the longest axis.
    mesh = mesh_coefficients(np.pad(np.ones((1, 1, 1), bool), 1), (2.0, 4.0, 6.0))
    assert mesh.volume_mm3 == pytest.approx(4 / 3 * 1 * 2 * 3)
    assert mesh.diameters_mm == pytest.approx((6.0, 6.0, 4.0, 6.0))
    assert mesh.surface_mm2 == pytest.approx(8 * 0.5 * np.sqrt((1 * 2) ** 2 + (2 * 3) ** 2 + (1 * 3) ** 2))
