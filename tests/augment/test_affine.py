"""Augmentation: equal to a float64 reference, uniform, repeatable, image and mask together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from pipeline.augment.affine import draw_affine, identity, normalised, resample, rotation, sampling_grid
from pipeline.settings.training import AugmentSettings

SPACING = (4.0, 2.0, 3.0)


def matrices(batch: int, seed: int, settings: AugmentSettings, flat: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return draw_affine(batch, settings, SPACING, flat=flat, generator=generator)


def reference(
    image: np.ndarray, matrix: np.ndarray, shape: tuple[int, int, int], air: float, order: int
) -> np.ndarray:
    """scipy's affine_transform in float64: input = A·output + offset, axes z, y, x."""
    linear = matrix[::-1, :3][:, ::-1]
    shift = matrix[::-1, 3]
    inner, outer = (np.array(image.shape) - 1) / 2, (np.array(shape) - 1) / 2
    offset = inner + shift - linear @ outer
    return ndimage.affine_transform(
        image.astype(float), linear, offset, shape, order=order, mode="constant", cval=air, prefilter=False
    )


@pytest.mark.parametrize("seed", range(4))
def test_equals_scipy_in_float64(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Smooth, as images are: white noise would only measure how coordinates round.
    image = np.stack([ndimage.gaussian_filter(rng.normal(size=(18, 24, 20)), 1.5) for _ in range(6)])
    image = image.reshape(3, 2, 18, 24, 20).astype(np.float32) * 10
    air = rng.normal(size=(3, 2)).astype(np.float32)
    affine = matrices(3, seed, AugmentSettings(translation_voxels=3, rotation_deg=20))
    shape = (12, 16, 14)
    got, _ = resample(torch.from_numpy(image), None, affine, air=torch.from_numpy(air), shape=shape)
    for b in range(3):
        for c in range(2):
            want = reference(image[b, c], affine[b].numpy(), shape, air[b, c], 1)
            # scipy blends with cval beyond the outermost voxel centres only where inside by
            # half a voxel; away from the edge both are trilinear.
            inside = reference(np.ones_like(image[b, c]), affine[b].numpy(), shape, 0.0, 0) > 0
            core = ndimage.binary_erosion(inside, iterations=2)
            assert core.sum() > 200
            assert np.abs(got[b, c].numpy() - want)[core].max() < 2e-4


def test_masks_equal_scipys_nearest_neighbour() -> None:
    """Voxel by voxel, but for the few whose source lies half-way between two."""
    rng = np.random.default_rng(5)
    blobs = ndimage.gaussian_filter(rng.normal(size=(3, 18, 24, 20)), (0, 2, 2, 2))
    mask = (blobs > blobs.std()).astype(np.uint8)
    affine = matrices(3, 5, AugmentSettings(translation_voxels=3, rotation_deg=20))
    image = torch.zeros(3, 1, 18, 24, 20)
    _, got = resample(image, torch.from_numpy(mask), affine, air=torch.zeros(3, 1), shape=(12, 16, 14))
    assert got is not None
    for b in range(3):
        want = reference(mask[b], affine[b].numpy(), (12, 16, 14), 0.0, 0)
        assert want.sum() > 100 and (got[b].numpy() != want).mean() < 0.002


def test_padding_is_the_patients_air() -> None:
    image = torch.full((2, 2, 8, 8, 8), 5.0)
    air = torch.tensor([[-1.0, -2.0], [-3.0, 0.5]])
    far = identity(2)
    far[:, 0, 3] = 6.0  # output reads 6 voxels further along x: the last 6 columns are outside
    moved, mask = resample(image, torch.ones(2, 8, 8, 8, dtype=torch.uint8), far, air=air, shape=(8, 8, 8))
    assert mask is not None
    for b in range(2):
        for c in range(2):
            assert torch.allclose(moved[b, c, :, :, :1], torch.tensor(5.0))
            assert torch.allclose(moved[b, c, :, :, 3:], air[b, c])
    assert mask[:, :, :, 3:].sum() == 0


def test_a_planted_landmark_stays_in_its_mask() -> None:
    """One bright voxel and its mask go to the same place, where the matrix says."""
    image = torch.zeros(1, 1, 33, 33, 33)
    mask = torch.zeros(1, 33, 33, 33, dtype=torch.uint8)
    image[0, 0, 15:18, 12:15, 19:22] = 1000.0
    mask[0, 15:18, 12:15, 19:22] = 1
    centre = np.array([16.0, 13.0, 20.0])
    for seed in range(20):
        affine = matrices(1, seed, AugmentSettings(translation_voxels=5, rotation_deg=10))
        moved, turned = resample(image, mask, affine, air=torch.zeros(1, 1), shape=(33, 33, 33))
        assert turned is not None
        # Output = A⁻¹(input − shift), about the centre; x, y, z order.
        linear, shift = affine[0, :, :3].numpy(), affine[0, :, 3].numpy()
        expected = np.linalg.solve(linear, (centre - 16)[::-1] - shift)[::-1] + 16
        for volume, tolerance in ((moved[0, 0].numpy(), 0.05), (turned[0].numpy(), 0.45)):
            measured = np.array(ndimage.center_of_mass(volume))
            assert np.abs(measured - expected).max() < tolerance


def test_uniform_between_the_limits_not_at_them() -> None:
    """Public code turned "up to 10 voxels" into exactly ±10."""
    affine = matrices(4000, 3, AugmentSettings(translation_voxels=10, rotation_deg=0))
    for axis in range(3):
        shift = affine[:, axis, 3].numpy()
        assert stats.kstest(shift, stats.uniform(-10, 20).cdf).pvalue > 0.001
    flipped = (affine[:, 0, 0] < 0).double().mean()
    assert 0.46 < flipped < 0.54
    assert torch.equal(affine[:, 1, 1], torch.ones(4000, dtype=torch.float64))


def test_angles_are_uniform_and_rotations_rigid_in_mm() -> None:
    settings = AugmentSettings(translation_voxels=0, rotation_deg=5, flip_sagittal=False)
    affine = matrices(3000, 4, settings)[:, :, :3]
    millimetres = torch.tensor(SPACING[::-1], dtype=torch.float64)
    turn = affine * millimetres[None, :, None] / millimetres[None, None, :]
    assert torch.allclose(turn @ turn.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand_as(turn))
    # Rz·Ry·Rx: element (2, 0) is −sin of the angle about y.
    about_y = np.degrees(np.arcsin(-turn[:, 2, 0].numpy()))
    assert stats.kstest(about_y, stats.uniform(-5, 10).cdf).pvalue > 0.001


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    turn = rotation(torch.tensor([[0.0, 0.0, np.pi / 2]], dtype=torch.float64))[0]
    assert torch.allclose(
        turn @ torch.tensor([1.0, 0, 0], dtype=torch.float64),
        torch.tensor([0.0, 1, 0], dtype=torch.float64),
        atol=1e-12,
    )


def test_same_seed_same_bytes_and_switches_are_independent() -> None:
    full = AugmentSettings()
    assert torch.equal(matrices(5, 1, full), matrices(5, 1, full))
    assert not torch.equal(matrices(5, 1, full), matrices(5, 2, full))
    still = matrices(5, 1, AugmentSettings(rotation_deg=0, flip_sagittal=False))
    assert torch.equal(still[:, :, 3], matrices(5, 1, full)[:, :, 3])


def test_slices_stay_in_their_plane() -> None:
    affine = matrices(50, 0, AugmentSettings(rotation_deg=30), flat=True)
    assert torch.equal(affine[:, 2], torch.tensor([0.0, 0, 1, 0], dtype=torch.float64).expand(50, 4))
    image = torch.rand(50, 1, 1, 16, 16)
    moved, _ = resample(image, None, affine, air=torch.full((50, 1), -9.0), shape=(1, 16, 16))
    assert (moved > -9).float().mean() > 0.3


def test_identity_cuts_the_centre_out_of_a_margin() -> None:
    image = torch.rand(2, 1, 12, 14, 16)
    mask = (torch.rand(2, 12, 14, 16) > 0.5).byte()
    cut, labels = resample(image, mask, identity(2), air=torch.zeros(2, 1), shape=(8, 10, 12))
    assert labels is not None
    assert torch.allclose(cut, image[:, :, 2:-2, 2:-2, 2:-2], atol=1e-5)
    assert torch.equal(labels, mask[:, 2:-2, 2:-2, 2:-2].float())


def test_the_grid_needs_no_product_of_matrices_and_is_exact() -> None:
    """An accelerator may multiply matrices in TF32, ten bits: 1/30 voxel at the border of 128."""
    from torch.utils._python_dispatch import TorchDispatchMode

    called: set[str] = set()

    class Called(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            called.add(str(func.overloadpacket))
            return func(*args, **(kwargs or {}))

    shape = (112, 128, 128)
    generator = torch.Generator().manual_seed(3)
    matrices = draw_affine(2, AugmentSettings(), (4.0, 2.0, 2.0), flat=False, generator=generator)
    theta = normalised(matrices, shape, shape)
    with Called():
        resample(torch.zeros(2, 1, *shape), None, matrices, air=torch.zeros(2, 1), shape=shape)
        grid = sampling_grid(theta, shape)
    assert "aten.grid_sampler_3d" in called
    assert called & {"aten.bmm", "aten.mm", "aten.baddbmm", "aten.addmm", "aten.matmul"} == set()
    exact = torch.nn.functional.affine_grid(theta, [2, 1, *shape], align_corners=False)
    assert float((grid - exact).abs().max()) * 64 < 2e-5  # voxels: float32 at a coordinate of 1
