"""Values of a mask file as labels of the study's classes, for slices and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import CropError


def mask_labels(values: npt.NDArray[Any], classes: Mapping[str, int], where: str) -> npt.NDArray[np.uint8]:
    """Labels (Z, Y, X) uint8 of a mask: 0 background, then 1, 2, … the classes in their order.

    Args:
        values: (C, Z, Y, X) as the file holds them. In colours there is one channel too many.
        classes: Class → its value in the file; empty: whatever is not 0 in any channel is lesion, label 1.
        where: Name of the file, for messages.

    Raises:
        CropError: The mask has colours, or a value that is of no class.
    """
    if not classes:
        return np.asarray((values != 0).any(axis=0), dtype=np.uint8)
    if len(values) != 1:
        raise CropError(
            "a mask with classes has colours",
            where=where,
            expected="one channel, whose values are contours.classes",
            got=f"{len(values)} channels",
            action="save it in grey, with the value of each class",
        )
    labels = np.zeros(values.shape[1:], dtype=np.uint8)
    for label, value in enumerate(classes.values(), start=1):
        labels[values[0] == value] = label
    unknown = np.unique(values[0][(labels == 0) & (values[0] != 0)])
    if len(unknown):
        raise CropError(
            "a mask holds a value that is of no class",
            where=where,
            expected=", ".join(["0", *(f"{value} ({name})" for name, value in classes.items())]),
            got=", ".join(f"{value:g}" for value in unknown[:5]) + (", …" if len(unknown) > 5 else ""),
            action="name its class in contours.classes",
        )
    return labels
