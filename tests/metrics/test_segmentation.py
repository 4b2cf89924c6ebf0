"""Dice and surface distances by hand and against MONAI."""

import numpy as np
import pytest

from pipeline.metrics.segmentation import dice, surface_distances


def box(shape, low, high):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_dice_by_hand():
    a, b = box((4, 4, 4), (0, 0, 0), (2, 2, 2)), box((4, 4, 4), (1, 0, 0), (3, 2, 2))
    assert dice(a, b) == 0.5  # 8 and 8 voxels, 4 shared
    assert dice(a, ~a) == 0.0
    assert dice(np.zeros((2, 2)), np.zeros((2, 2))) == 1.0
    with pytest.raises(ValueError, match="different shapes"):
        dice(a, a[:2])


def test_distances_follow_the_spacing():
    a, b = box((20, 9, 9), (2, 3, 3), (5, 6, 6)), box((20, 9, 9), (12, 3, 3), (15, 6, 6))
    distances = surface_distances(a, b, (2.0, 1.0, 1.0))
    assert distances.hausdorff == pytest.approx(20.0)  # ten voxels of 2 mm
    assert surface_distances(a, a, (2.0, 1.0, 1.0)).assd == 0.0


def test_empty_masks():
    nothing, something = np.zeros((3, 3, 3), bool), box((3, 3, 3), (0, 0, 0), (1, 1, 1))
    assert surface_distances(nothing, nothing, (1.0, 1.0, 1.0)).hd95 == 0.0
    assert surface_distances(nothing, something, (1.0, 1.0, 1.0)).hd95 == float("inf")


def test_agrees_with_monai():
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    a, b = box((24, 24, 24), (4, 5, 6), (12, 15, 13)), box((24, 24, 24), (6, 4, 8), (15, 14, 19))
    b[10, 10, 18] = False
    spacing = (2.0, 1.5, 1.0)
    ours = surface_distances(a, b, spacing)
    first, second = (torch.as_tensor(m[None, None].astype(np.float32)) for m in (a, b))
    largest = compute_hausdorff_distance(first, second, include_background=True, spacing=spacing)
    assert ours.hausdorff == pytest.approx(float(largest[0, 0]), rel=1e-5)
    # MONAI averages each direction by itself; ours takes all distances together.
    one, other = (
        float(compute_average_surface_distance(x, y, include_background=True, spacing=spacing)[0, 0])
        for x, y in ((first, second), (second, first))
    )
    assert min(one, other) - 1e-5 <= ours.assd <= max(one, other) + 1e-5
