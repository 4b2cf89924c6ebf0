"""Two stacks of slices in one series: two scans, frames or reconstructions, shifted by a part of a slice."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from pipeline.dicom.header.alternation import FEWEST_SLICES, alternation
from pipeline.dicom.series.instance import Instance
from pipeline.dicom.series.series import Series
from pipeline.volumes.volume import FloatArray

# Times of beds, or of every slice as the bed moves, stay below; those of two stacks lie far above.
_ALTERNATING = 2.0
# Share of steps at which the numbers of images stay in two stacks that were numbered alike.
_STAYS = 0.4


def two_stacks(series: Series, acquired_s: FloatArray | None) -> str:
    """Why slices belong to two stacks that were put into one series; empty if they don't.

    Traits that every slice of a scan has of its own, such as its rescale slope, are none of a stack: a
    trait counts where it comes back at every second (third, fourth) slice.

    Args:
        series: A PET or CT series with geometry, in the order of its positions.
        acquired_s: Acquisition time of each plane in that order, in seconds; None where one is missing.
    """
    return (
        _by_count(series, acquired_s)
        or _by_words(series)
        or _by_numbers(series, acquired_s)
        or _by_order(series)
    )


def _by_count(series: Series, acquired_s: FloatArray | None) -> str:
    announced = max(instance.number_of_slices for instance in series.instances)
    whole = announced > 1 and series.slices >= 2 * announced and series.slices % announced == 0
    offsets_ms = _of(series, [i.timing.reference_ms for i in series.instances])
    if series.note or not whole or any(_beds_side_by_side(t, announced) for t in (acquired_s, offsets_ms)):
        return ""
    return (
        f"{series.slices // announced} stacks in one series: {series.slices} slices, where (0054,0081) "
        f"Number of Slices says {announced} and no acquisition times part them into beds (several scans, or an archive "
        "interpolated slices and left the number)"
    )


def _beds_side_by_side(times: FloatArray | None, slices: int) -> bool:
    """Whether each run of so many neighbouring slices has a time of its own: then it is a bed.

    Beds that share an acquisition time carry their offset in (0054,1300).
    """
    if times is None or times.size % slices:
        return False
    beds = times.reshape(-1, slices)
    return bool((beds == beds[:, :1]).all()) and len(set(beds[:, 0])) == len(beds)


def _by_words(series: Series) -> str:
    traits: dict[str, Sequence[Hashable]] = {
        "(0028,0051) Corrected Image": [i.corrected for i in series.instances],
        "(0008,0008) Image Type": [i.image_type for i in series.instances],
        "(0054,1001) Units": [i.units for i in series.instances],
        "(0008,0031) Series Time": [i.series_datetime for i in series.instances],
        "(0054,1102) Decay Correction": [i.decay_correction for i in series.instances],
        "(0018,0060) KVP": [i.kvp for i in series.instances],
        "(0018,1210) Convolution Kernel": [i.kernel for i in series.instances],
    }
    for name, values in traits.items():
        if _alternate(values):
            return _refusal(name)
    return ""


def _alternate(values: Sequence[Hashable]) -> bool:
    """Whether values change from slice to slice more often than stacks side by side would."""
    changes = sum(first != second for first, second in itertools.pairwise(values))
    return changes > max(len(set(values)) - 1, len(values) // 4)


def _by_numbers(series: Series, acquired_s: FloatArray | None) -> str:
    traits: Mapping[str, FloatArray | None] = {
        "(0008,0032) Acquisition Time": acquired_s,
        "(0054,1300) Frame Reference Time": _of(series, [i.timing.reference_ms for i in series.instances]),
        "(0018,1242) Actual Frame Duration": _of(series, [i.timing.duration_ms for i in series.instances]),
        "(0054,1321) Decay Factor": _of(series, [i.timing.decay_factor for i in series.instances]),
    }
    for name, values in traits.items():
        if values is not None and alternation(values) > _ALTERNATING:
            return _refusal(name)
    return ""


def _of(series: Series, values: Sequence[float | None]) -> FloatArray | None:
    """Values of all slices; None where a slice has none."""
    known = [value for value in values if value is not None]
    return np.array(known) if len(known) == len(series.instances) else None


def _by_order(series: Series) -> str:
    """Whether images are numbered as two stacks would be, by (0020,0013): 1 1 2 2 3 3, or 1 17 2 18 3 19."""
    numbers = np.array([i.acquisition_order.instance_number for i in series.instances])
    if len(numbers) < FEWEST_SLICES or series.note or _multi_frame(series.instances):
        return ""
    stays = float((np.diff(numbers) == 0).mean())
    if alternation(numbers) > _ALTERNATING or (stays >= _STAYS and len(set(numbers)) > 1):
        return _refusal("(0020,0013) Instance Number")
    return ""


def _multi_frame(instances: Sequence[Instance]) -> bool:
    return any(len(instance.planes) != 1 for instance in instances)


def _refusal(name: str) -> str:
    return f"two stacks in one series: {name} alternates from slice to slice"
