"""Elastic deformation: equal to scipy in float64, one resampling, bounded, without folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage, stats

from pipeline.augment.affine import draw_affine, identity, resample
from pipeline.augment.elastic import ElasticField, draw_elastic
from pipeline.settings.training import UNFOLDED, AugmentSettings

SPACING_MM = (4.0, 2.0, 3.0)
Array = NDArray[np.float64]


def drawn(batch: int, settings: AugmentSettings, shape: tuple[int, int, int], seed: int) -> tuple:
    generator = torch.Generator().manual_seed(seed)
    affine = draw_affine(batch, settings, SPACING_MM, flat=shape[0] == 1, generator=generator)
    return affine, draw_elastic(batch, settings, shape, generator)


def displacement(field: ElasticField, sample: int, points: Array) -> Array:
    """Of points (n, 3; offsets from the centre; z, y, x): scipy's cubic B-splines of the control points."""
    control = field.control[sample].numpy()[..., ::-1]  # z, y, x
    middle = (np.array(control.shape[:3]) - 1) / 2
    at = (points / field.spacing + middle).T
    at[np.array(control.shape[:3]) == 1] = 0
    # Room for a neighbour of weight 0 beyond the last control point; an axis of one has no neighbours.
    wide = [0 if n == 1 else 2 for n in control.shape[:3]]
    padded = [np.pad(control[..., c], [(w, w) for w in wide], mode="edge") for c in range(3)]
    at += np.array(wide)[:, None]
    moved = [ndimage.map_coordinates(p, at, order=3, mode="nearest", prefilter=False) for p in padded]
    return np.stack(moved, axis=1)


def offsets(shape: tuple[int, ...]) -> Array:
    return np.argwhere(np.ones(shape, bool)) - (np.array(shape) - 1) / 2


def source(affine: torch.Tensor, field: ElasticField, sample: int, shape: tuple[int, ...]) -> Array:
    """Offsets (n, 3; z, y, x) that output voxels are read from: A·(x + u(x)) + t."""
    matrix = affine[sample].numpy()
    linear, shift = matrix[::-1, :3][:, ::-1], matrix[::-1, 3]
    voxels = offsets(shape)
    return (voxels + displacement(field, sample, voxels)) @ linear.T + shift


@pytest.mark.parametrize(("inner", "outer"), [((20, 26, 22), (14, 18, 16)), ((1, 40, 36), (1, 30, 28))])
def test_equals_scipy_in_float64(inner: tuple[int, int, int], outer: tuple[int, int, int]) -> None:
    """Image linear, mask nearest, both from A·(x + u(x)) + t; 3 samples, 2 channels."""
    rng = np.random.default_rng(1)
    sigma = [0 if n == 1 else 2 for n in inner]
    image = np.stack([ndimage.gaussian_filter(rng.normal(size=inner), sigma) for _ in range(6)])
    image = (image / image.std()).reshape(3, 2, *inner).astype(np.float32)
    mask = (image[:, 0] > 0.5).astype(np.uint8)
    settings = AugmentSettings(
        translation_voxels=2, rotation_deg=15, elastic_voxels=2.4, elastic_spacing_voxels=6
    )
    affine, field = drawn(3, settings, outer, 4)
    air = torch.zeros(3, 2)
    got, labels = resample(
        torch.from_numpy(image), torch.from_numpy(mask), affine, air=air, shape=outer, field=field
    )
    assert labels is not None
    plain, _ = resample(torch.from_numpy(image), None, affine, air=air, shape=outer)
    for b in range(3):
        at = source(affine, field, b, outer) + (np.array(inner) - 1) / 2
        core = ((at >= 0) & (at <= np.array(inner) - 1)).all(axis=1)
        assert core.mean() > 0.7
        for c in range(2):
            want = ndimage.map_coordinates(image[b, c].astype(float), at.T, order=1)
            voxels = got[b, c].numpy().ravel()
            assert np.abs(voxels - want)[core].max() < 2e-5
            assert np.abs(voxels - plain[b, c].numpy().ravel()).max() > 0.2  # not so without it
        nearest = ndimage.map_coordinates(mask[b].astype(float), at.T, order=0)
        # Voxels read from half-way between two may go either way.
        assert (labels[b].numpy().ravel() != nearest)[core].mean() < 0.002 < nearest.mean()


def test_a_planted_landmark_stays_in_its_mask() -> None:
    """A cube of voxels, its mask and the place that the deformation names are one."""
    shape = (33, 33, 33)
    image, mask = torch.zeros(1, 1, *shape), torch.zeros(1, *shape, dtype=torch.uint8)
    image[0, 0, 15:18, 12:15, 19:22] = 1000.0
    mask[0, 15:18, 12:15, 19:22] = 1
    centre = np.array([16.0, 13.0, 20.0]) - 16
    settings = AugmentSettings(
        translation_voxels=3, rotation_deg=10, elastic_voxels=4.8, elastic_spacing_voxels=12
    )
    far = []
    for seed in range(20):
        affine, field = drawn(1, settings, shape, seed)
        moved, turned = resample(image, mask, affine, air=torch.zeros(1, 1), shape=shape, field=field)
        assert turned is not None
        # The output voxel that is read from nearest to the cube's centre.
        from_where = source(affine, field, 0, shape)
        expected = offsets(shape)[np.linalg.norm(from_where - centre, axis=1).argmin()] + 16
        measured = np.array(ndimage.center_of_mass(moved[0, 0].numpy()))
        also = np.array(ndimage.center_of_mass(turned[0].numpy()))
        assert np.abs(measured - expected).max() < 0.8 and np.abs(also - measured).max() < 0.45
        undeformed, _ = resample(image, None, affine, air=torch.zeros(1, 1), shape=shape)
        far.append(np.abs(measured - ndimage.center_of_mass(undeformed[0, 0].numpy())).max())
    assert max(far) > 1.5  # it was deformed indeed


def test_switched_off_leaves_draws_and_bytes() -> None:
    """Seven numbers are drawn first, so affine draws are the same with and without."""
    shape = (12, 14, 16)
    off, on = AugmentSettings(), AugmentSettings(elastic_voxels=3)
    plain, none = drawn(4, off, shape, 7)
    same, field = drawn(4, on, shape, 7)
    assert none is None and torch.equal(plain, same)
    image = torch.rand(4, 1, *shape, generator=torch.Generator().manual_seed(0))
    air = torch.zeros(4, 1)
    before, _ = resample(image, None, plain, air=air, shape=shape)
    still = ElasticField(torch.zeros_like(field.control), field.spacing)
    unmoved, _ = resample(image, None, plain, air=air, shape=shape, field=still)
    assert torch.equal(before, unmoved)
    again = drawn(4, on, shape, 7)[1]
    assert torch.equal(again.control, field.control)
    assert not torch.equal(drawn(4, on, shape, 8)[1].control, field.control)


def moves(field: ElasticField, shape: tuple[int, int, int]) -> Array:
    """Displacements (B, Z, Y, X, 3; z, y, x) in voxels, from where an image of coordinates is read."""
    big = tuple(n if n == 1 else n + 40 for n in shape)
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in big], indexing="ij")
    image = torch.tensor(np.stack(axes))[None].expand(len(field.control), -1, -1, -1, -1)
    got, _ = resample(
        image, None, identity(len(image)), air=torch.zeros(len(image), 3), shape=shape, field=field
    )
    return got.double().numpy().transpose(0, 2, 3, 4, 1) - offsets(shape).reshape(1, *shape, 3)


@pytest.mark.parametrize(("shape", "ratio"), [((24, 24, 24), 0.1916), ((1, 64, 64), 0.2768)])
def test_size_of_the_displacement(shape: tuple[int, int, int], ratio: float) -> None:
    """Uniform at control points; over voxels SD = limit/√3·(151/315)^(d/2) of d dimensions, by hand."""
    settings = AugmentSettings(elastic_voxels=4, elastic_spacing_voxels=10)
    _, field = drawn(60, settings, shape, 2)
    axes = range(3) if shape[0] > 1 else range(2)
    for axis in axes:
        values = field.control[..., axis].numpy().ravel()
        assert stats.kstest(values, stats.uniform(-4, 8).cdf).pvalue > 0.001
    displacements = moves(field, shape)
    if shape[0] == 1:
        assert np.abs(displacements[..., 0]).max() == 0  # a slice stays in its plane
        displacements = displacements[..., 1:]
    assert np.abs(displacements).max() <= 4
    assert np.abs(displacements.mean(axis=(0, 1, 2, 3))).max() < 0.15
    assert displacements.std() == pytest.approx(4 * ratio, rel=0.06)


def worst_determinant(amplitude: float, dimensions: int) -> float:
    """Smallest Jacobian determinant of x + u(x) that control points within ± amplitude spacings can make.

    The determinant is linear in each component's displacements, so signs along its cofactors are
    the worst while the others stand; repeated until they stay, from several starts and places.
    """
    rng, smallest = np.random.default_rng(0), np.inf
    for t in (0.0, 0.25, 0.5):
        value = np.array([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
        slope = np.array([-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]) / 2
        gradients = []
        for axis in range(dimensions):
            product = np.ones(1)
            for other in range(dimensions):
                product = np.multiply.outer(product, slope if other == axis else value).ravel()
            gradients.append(product)
        gradient = np.stack(gradients, axis=1)
        for _ in range(20):
            control = rng.choice([-amplitude, amplitude], (len(gradient), dimensions))
            for _ in range(10):
                for axis in range(dimensions):
                    jacobian = np.eye(dimensions) + control.T @ gradient
                    cofactor = np.array(
                        [
                            (-1) ** (axis + c) * np.linalg.det(np.delete(np.delete(jacobian, axis, 0), c, 1))
                            for c in range(dimensions)
                        ]
                    )
                    control[:, axis] = -amplitude * np.sign(gradient @ cofactor)
            smallest = min(smallest, np.linalg.det(np.eye(dimensions) + control.T @ gradient))
    return float(smallest)


def test_nothing_that_is_allowed_folds() -> None:
    """Worst displacements at the limit leave every volume positive; a quarter more would not."""
    assert UNFOLDED <= 1 / 2.479472335  # Choi and Lee 2000
    for dimensions in (2, 3):
        assert worst_determinant(UNFOLDED, dimensions) > 0
        assert worst_determinant(UNFOLDED * 1.25, dimensions) < 0
    _, field = drawn(8, AugmentSettings(elastic_voxels=3.2, elastic_spacing_voxels=8), (20, 20, 20), 0)
    extreme = ElasticField(3.2 * field.control.sign(), field.spacing)
    field = moves(extreme, (20, 20, 20))
    jacobian = np.stack([np.stack(np.gradient(field[..., c], axis=(1, 2, 3)), -1) for c in range(3)], -2)
    assert np.linalg.det(jacobian + np.eye(3)).min() > 0


def test_what_could_fold_is_refused() -> None:
    AugmentSettings(elastic_voxels=6.4, elastic_spacing_voxels=16)
    AugmentSettings(elastic_voxels=0.4 * 23, elastic_spacing_voxels=23)
    with pytest.raises(ValidationError, match=r"elastic_voxels 6\.5 could fold.*must be at most 6\.4"):
        AugmentSettings(elastic_voxels=6.5, elastic_spacing_voxels=16)
    with pytest.raises(ValidationError):
        AugmentSettings(elastic_voxels=-1)
