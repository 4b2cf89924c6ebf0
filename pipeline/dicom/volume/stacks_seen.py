"""Two scans or reconstructions in one series, shifted by half a slice, where only the values show it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom.header.alternation import ALTERNATING, alternation
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings

# Every slice is looked at in about so many pixels: what alternates does so everywhere.
_PIXELS = 4096


def stack_warnings(array: npt.NDArray[Any], where: str, settings: ConvertSettings) -> list[str]:
    """Warnings of a series whose neighbouring slices differ more than every second one.

    Values are compared with each slice's rescale applied: slopes may differ from slice to slice as they like.
    In one scan the ratio is below 1 (0.5 to 0.95 in whole-body and cropped scans, 1 in pure noise).

    Args:
        array: Stored values (z, y, x) after the rescale.
        where: Names the series.
        settings: Whether it is refused.

    Raises:
        DicomError: It is so, and the settings refuse it.
    """
    step = max(1, int(np.sqrt(array[0].size / _PIXELS)))
    ratio = alternation(array[:, ::step, ::step])
    if ratio <= ALTERNATING:
        return []
    seen = "neighbouring slices differ" + (f" {ratio:.1f} times as much as" if ratio < 100 else ", not")
    seen += " slices further apart"
    if settings.alternating_slices == "warn":
        return [f"{where}: {seen}; it may hold two scans or reconstructions"]
    raise DicomError(
        "two scans or reconstructions in one series, shifted by a part of a slice",
        where=f"{where}, pixel values",
        expected="slices that resemble their neighbours most",
        got=seen,
        action="separate them, or set convert.alternating_slices: warn if it is one scan",
    )
