"""What looks odd in the results of a SUV's derivation: flags for a person, never a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom.header.dicom_time import DAY_S, PetTimes
from pipeline.dicom.header.readable import duration, percent_of_suv
from pipeline.dicom.pet.decay_timing import ReferenceTime
from pipeline.dicom.pet.normalisation import suv_scale
from pipeline.dicom.pet.time_evidence import (
    UNSUPPORTED_PERCENT,
    SecondOpinion,
    contradicts,
    first_frame_s,
    second_opinions,
    suv_percent,
)
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

LEAST_SUV, MOST_SUV = 0.1, 1000.0
"""No patient's image stays below the one (g/mL), or holds a thousandth of its voxels above the other."""
Flags = tuple[str, ...]
_LATE_REFERENCE_S, _LATE_ACQUISITION_S = 60.0, 3600.0
# Values are stored in whole steps; a thousandth of the body's uptake is far more than such a step.
_ROUNDED_SUV = 0.001


def reference_flags(times: PetTimes, reference: ReferenceTime, half_life_s: float) -> Flags:
    """Flag times that speak against the reference time that was taken."""
    opinions = second_opinions(times, reference, half_life_s)
    flags = tuple(
        _opinion_flag(opinion, half_life_s)
        for opinion in opinions
        if contradicts(opinion.worst_s, half_life_s)
    )
    flags += _late_frame_flags(times, reference, half_life_s)
    if reference.source == "decay_correction":
        flags = (*_named_flags(times, reference, half_life_s, bool(opinions)), *flags)
        if not reference.element.startswith(
            "GE"
        ):  # GE's is the scan's time, the others the decay correction's
            return flags
    elif reference.source == "injection":
        return flags
    elif reference.source == "series":
        flags = (*_series_flags(times, reference, half_life_s, bool(opinions)), *flags)
    else:
        flags = (*_scan_flags(times), *flags)
    return flags if opinions else (*flags, *_bed_flags(times, half_life_s))


def _late_frame_flags(times: PetTimes, reference: ReferenceTime, half_life_s: float) -> Flags:
    """A first frame long after the acquisition time that all slices share: a crop, or a dynamic scan's late frame."""
    acquired = times.first_acquisition
    if reference.source == "injection" or acquired is None:
        return ()
    late_s = first_frame_s(times, half_life_s)
    start_s = acquired.seconds_since(reference.time) - late_s  # if the acquisition time is the frame's own
    if not contradicts(late_s, half_life_s) or not contradicts(start_s, half_life_s):
        return ()
    return (
        f"the first frame begins {duration(late_s)} after the acquisition time by (0054,1300), as in a crop of later "
        f"beds; if it was acquired at that time, SUV is {percent_of_suv(suv_percent(start_s, half_life_s))}",
    )


def _bed_flags(times: PetTimes, half_life_s: float) -> Flags:
    """Beds that nothing says of whether they were corrected to the scan's start or each to its own."""
    acquired = [frame.acquired for frame in times.frames if frame.acquired is not None]
    first = times.first_acquisition
    span_s = 0.0 if first is None else max((time.seconds_since(first) for time in acquired), default=0.0)
    if not contradicts(span_s, half_life_s, UNSUPPORTED_PERCENT):
        return ()
    return (
        f"beds were acquired over {duration(span_s)}, and neither (0054,1300) nor (0054,1321) says that decay was "
        f"corrected to one time: the last one's SUV may be {percent_of_suv(suv_percent(-span_s, half_life_s))}",
    )


def _opinion_flag(opinion: SecondOpinion, half_life_s: float) -> str:
    order = "later" if opinion.worst_s > 0 else "earlier"
    return (
        f"{opinion.element} speaks for a reference time {duration(opinion.worst_s)} {order}: "
        f"SUV {percent_of_suv(suv_percent(opinion.worst_s, half_life_s))}"
    )


def _named_flags(times: PetTimes, reference: ReferenceTime, half_life_s: float, seconded: bool) -> Flags:
    """Decay is corrected to the start of the scan, hardly to a time after it; nor does the series' differ."""
    flags: Flags = ()
    acquired = times.first_acquisition
    late_s = 0.0 if acquired is None else reference.time.seconds_since(acquired)
    if late_s > _LATE_REFERENCE_S or (not seconded and contradicts(max(0.0, late_s), half_life_s)):
        flags = (f"{reference.element} is {duration(late_s)} after the first acquisition",)
    if (
        times.series is None
        and not seconded
        and contradicts(-late_s, half_life_s, UNSUPPORTED_PERCENT)
        and late_s < 0
    ):
        flags = (
            f"the first acquisition is {duration(late_s)} after {reference.element}; nothing confirms it",
        )
    series_s = 0.0 if times.series is None else times.series.seconds_since(reference.time)
    if not seconded and contradicts(series_s, half_life_s) and abs(series_s) < DAY_S / 2:
        order = "after" if series_s > 0 else "before"
        flags = (
            *flags,
            f"the series time is {duration(series_s)} {order} {reference.element}, which is used",
        )
    return flags


def _series_flags(times: PetTimes, reference: ReferenceTime, half_life_s: float, seconded: bool) -> Flags:
    """A series time before the scan: altered, the CT's, or right for a series cut to its later beds."""
    acquired = times.first_acquisition
    wait_s = 0.0 if acquired is None else acquired.seconds_since(reference.time)
    unsupported = not seconded and contradicts(wait_s, half_life_s, UNSUPPORTED_PERCENT)
    if wait_s <= _LATE_ACQUISITION_S and not unsupported:
        return ()
    return (f"the first acquisition is {duration(wait_s)} after the series time",)


def _scan_flags(times: PetTimes) -> Flags:
    """A series time on another day than the acquisitions."""
    if times.series is None or times.first_acquisition is None:
        return ()
    days = abs(times.series.seconds_since(times.first_acquisition)) / DAY_S
    return (f"series and acquisitions are dated {days:.1f} days apart",) if days >= 0.5 else ()


def uptake_flags(minutes: float | None, settings: SuvSettings) -> Flags:
    """Flag an uptake time outside the study's limits."""
    low, high = settings.uptake_minutes
    if minutes is None or low <= minutes <= high:
        return ()
    return (f"uptake time {minutes:.1f} min is outside {low:g} to {high:g} min",)


@dataclass(frozen=True)
class ImageValues:
    """What an SUV image's values amount to.

    Attributes:
        suv_max: Greatest SUV.
        suv_min: Least SUV.
        high: 99.9th percentile; a single voxel is no image, an extravasated injection is a few.
        negative_percent: Share of voxels that are negative by more than rounding.
        body_median: Median SUV of the body; None where no voxel is body.
    """

    suv_max: float
    suv_min: float
    high: float
    negative_percent: float
    body_median: float | None


def image_values(array: npt.NDArray[Any], body_median: float | None, normalisation: str) -> ImageValues:
    """The values that plausibility is judged by."""
    below = array < -_ROUNDED_SUV * suv_scale(normalisation)
    return ImageValues(
        suv_max=float(array.max()),
        suv_min=float(array.min()),
        high=float(np.percentile(array, 99.9)),
        negative_percent=100.0 * float(below.mean()),
        body_median=body_median,
    )


def require_possible(values: ImageValues, settings: SuvSettings) -> None:
    """Refuse an image whose values cannot be SUV, whatever its headers say.

    Raises:
        SuvError: No activity, nothing that reaches 0.1 g/mL, a body a factor of ten away from any
            patient's, or one voxel in a thousand above 1,000 g/mL.
    """
    scale = suv_scale(settings.normalisation)
    low, high = (limit * scale for limit in settings.possible_body_suv)
    median = values.body_median
    if values.suv_max <= 0:
        raise SuvError("the PET holds no activity", where="pixel values", got=f"SUVmax {values.suv_max:g}")
    if values.suv_max < LEAST_SUV * scale:
        expected, got = f"an SUVmax of {LEAST_SUV * scale:g} and more", f"SUVmax {values.suv_max:.3g}"
    elif median is not None and not low <= median <= high:
        expected = f"a median SUV of the body from {low:g} to {high:g} (suv.possible_body_suv)"
        got = f"{median:.4g}, SUVmax {values.suv_max:.4g}"
    elif values.high > MOST_SUV * scale:
        expected = f"99.9 % of voxels below {MOST_SUV * scale:g}"
        got = f"{values.high:.4g} at the 99.9th percentile"
    else:
        return
    raise SuvError(
        "values that cannot be SUV: the PET's units, dose or weight are wrong",
        where="pixel values; (0054,1001) Units, (0018,1074) Radionuclide Total Dose",
        expected=expected,
        got=got,
        action="find out what the stored values are (Bq/mL, kBq/mL, SUV), and correct the headers",
    )


def image_flags(values: ImageValues, settings: SuvSettings) -> Flags:
    """Flag a maximum, a minimum and a median of the body outside the study's limits."""
    flags = []
    if values.suv_max > settings.implausible_suvmax:
        flags.append(f"SUVmax {values.suv_max:.1f} above {settings.implausible_suvmax:g}")
    scale = suv_scale(settings.normalisation)
    low, high = (limit * scale for limit in settings.body_suv)
    if values.body_median is not None and not low <= values.body_median <= high:
        flags.append(f"median SUV of the body {values.body_median:.2f} is outside {low:g} to {high:g}")
    if values.negative_percent > 0:
        flags.append(
            f"negative SUV down to {values.suv_min:.3g}, in {values.negative_percent:.2g} % of voxels"
        )
    return tuple(flags)
