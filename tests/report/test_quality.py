"""Sheets of all crops."""

from __future__ import annotations

import numpy as np

from pipeline.report import quality, slices


def test_strips_are_true_to_scale_and_carry_their_contours() -> None:
    # Slices of (z, y, x) 3 × 8 × 10 voxels of 2 × 1 × 1 mm: 8 rows axial; coronal 3 rows of 2 mm = 6.
    image = np.zeros((3, 8, 10), np.float32)
    manual = np.zeros(image.shape, bool)
    manual[1, 2:5, 3:7] = True
    example = slices.Example("a", {"pet": image, "ct": image}, manual, None, "", (1.0, 2.0))
    strip = quality.strip(example)
    assert strip.image.shape == (8, 4 * (10 + quality.GAP))
    first = strip.manual[:, :10]
    assert first.sum() == 12 and first[2:5, 3:7].all()
    # head up: slice 1 of 3 stays in the middle, each row stands twice
    coronal = strip.manual[:, 24:34]
    assert np.flatnonzero(coronal.any(axis=1)).tolist() == [2, 3]
    assert not strip.predicted.any()
