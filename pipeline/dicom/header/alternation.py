"""Values of slices that alternate: what two stacks look like that were put into one, shifted by a part of a slice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ALTERNATING = 1.3
"""From here on neighbours differ so much more than slices further apart that these are of one stack, and those not."""
FEWEST_SLICES = 6
"""Fewer slices show no pattern."""
_STACKS = (2, 3, 4)
# Values that differ by less than this share of their size are the same.
_SAME = 1e-6


def alternation(values: npt.ArrayLike) -> float:
    """By how much neighbours differ more than slices two to four apart; above 1 for interleaved stacks.

    In one stack the difference grows with the distance, or is that of noise, the same at all distances. In two
    stacks that were shifted by half a slice and put into one, the slice after the next is of the same stack.

    Args:
        values: (slices,) or (slices, …), in the order of their positions.

    Returns:
        Mean absolute difference of neighbours over the least of those at two to four slices; 1 where all
        values are the same, or there are fewer than six slices.
    """
    array = np.asarray(values)
    if len(array) < FEWEST_SLICES:
        return 1.0
    size = _mean_difference(array, None)
    apart = [_mean_difference(array, step) for step in (1, *_STACKS)]
    if apart[0] <= _SAME * size:
        return 1.0
    return apart[0] / max(min(apart[1:]), _SAME * size)


def _mean_difference(array: npt.NDArray[np.generic], step: int | None) -> float:
    """Mean absolute difference of slices some steps apart; without steps, of values and 0. A slice at a time."""
    if step is None:
        return float(np.mean([np.abs(each.astype(np.float64)).mean() for each in array]))
    pairs = zip(array[step:], array[:-step], strict=True)
    return float(np.mean([np.abs(b.astype(np.float64) - a.astype(np.float64)).mean() for b, a in pairs]))
