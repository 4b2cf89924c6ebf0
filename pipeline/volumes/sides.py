"""Which side of the patient lies at each end of an image's axes."""

from __future__ import annotations

from collections.abc import Sequence

ENDS = (("F", "H"), ("A", "P"), ("R", "L"))
"""Letters at index 0 and at the end of z, y and x where each grows towards the head, the back, the left."""


def side_letters(direction: Sequence[Sequence[float]]) -> tuple[tuple[str, str], ...]:
    """Letters at index 0 and at the end of z, y and x: F and H, A and P, R and L.

    Empty where an axis lies more than 45 degrees off.

    Args:
        direction: 3×3, columns are the unit vectors (LPS) of the x, y and z axes.
    """
    letters = []
    for axis, (first, last) in zip((2, 1, 0), ENDS, strict=True):
        along = float(direction[axis][axis])
        known = ("", "") if abs(along) < 0.7072 else (first, last)
        letters.append(known if along > 0 else known[::-1])
    return tuple(letters)
