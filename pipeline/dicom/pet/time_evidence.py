"""Second opinions on the time that values refer to: every header element that speaks of it.

The frames of a decay-corrected series say twice when the decay correction begins: (0054,1300)
counts from it to each frame, and (0054,1321) is the factor that each slice was multiplied by.
Both are compared with the time that was taken, in percent of SUV.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pipeline.dicom.header.dicom_time import DicomTime, FrameTimes, PetTimes
from pipeline.dicom.pet.decay_timing import ReferenceTime
from pipeline.dicom.pet.radionuclide import average_time

FLAGGED_PERCENT = 0.5
"""An SUV that another reading of the times would change by more is flagged."""
UNSUPPORTED_PERCENT = 1.0
"""Without any frame's word, a first acquisition that would change SUV by more is flagged."""
_SAME_OFFSET_MS = 500.0
_LONGEST_SCAN_S = 2400.0
"""Of a shared acquisition time, no bed begins later; what does is a frame of a longer, dynamic scan."""
_CLOCK_S = 1.5
"""Clock readings are rounded to a second, and series and first acquisition differ by about one."""


@dataclass(frozen=True)
class SecondOpinion:
    """What the frames say of the time that values refer to.

    Attributes:
        element: The element that says so.
        worst_s: Seconds from the time in question to the slice's that disagrees most.
        median_s: The same, median over the slices.
        against_s: The same, of the slice that a quarter of them disagree more than.
        spread_s: Largest less smallest: slices that were not corrected to one time.
        own_start: Whether every bed counts from its own start, which says little where a bed's factor does not.
    """

    element: str
    worst_s: float
    median_s: float
    against_s: float
    spread_s: float = 0.0
    own_start: bool = False


@dataclass(frozen=True)
class TimeEvidence:
    """One element that speaks of the reference time, for the audit.

    Attributes:
        element: The element, or how it was computed.
        minutes: From the injection to its time; None where the injection is not known.
        suv_percent: By how much SUV would be higher if it were the reference time.
        chosen: Whether it is.
    """

    element: str
    minutes: float | None
    suv_percent: float
    chosen: bool


def suv_percent(seconds: float, half_life_s: float) -> float:
    """By how many percent an SUV is higher if its dose decays for some seconds longer."""
    return 100.0 * (math.pow(2.0, max(-50.0, min(50.0, seconds / half_life_s))) - 1.0)


def contradicts(seconds: float, half_life_s: float, percent: float = FLAGGED_PERCENT) -> bool:
    """Whether two times part by more than clocks are rounded, and by more than a percentage of SUV."""
    return abs(seconds) > _CLOCK_S and abs(suv_percent(seconds, half_life_s)) > percent


def second_opinions(
    times: PetTimes, reference: ReferenceTime, half_life_s: float
) -> tuple[SecondOpinion, ...]:
    """What (0054,1300) and (0054,1321) say, relative to the reference time.

    Of values that refer to the injection only the latter does: (0054,1300) counts from the scan's start.

    Vendors fill these in differently, and a reading that fits the time speaks for it: (0054,1300)
    counts to the frame's average count rate, with GE to its start; slices whose acquisition time
    differs carry their own bed's, slices that share one may carry the scan's start and the bed's
    offset in (0054,1300), if that is no longer than a whole-body scan.
    """
    by_factor = _opinion("(0054,1321) Decay Factor", _factor_readings(times, reference.time, half_life_s))
    by_frame = None
    if reference.source != "injection":
        readings = _frame_readings(times, reference.time, half_life_s)
        by_frame = _opinion("(0054,1300) Frame Reference Time", readings)
        if by_frame is not None:
            by_frame = replace(by_frame, own_start=_each_from_its_own_start(times))
    return tuple(opinion for opinion in (by_frame, by_factor) if opinion is not None)


def _opinion(element: str, readings: Iterator[list[float]]) -> SecondOpinion | None:
    """Of several readings the one that comes nearest."""
    opinions = [_summary(element, seconds) for seconds in readings if seconds]
    return min(opinions, key=lambda opinion: abs(opinion.worst_s), default=None)


def _summary(element: str, seconds: list[float]) -> SecondOpinion:
    by_size = sorted(seconds, key=abs)
    return SecondOpinion(
        element,
        worst_s=by_size[-1],
        median_s=sorted(seconds)[len(seconds) // 2],
        against_s=by_size[3 * (len(seconds) - 1) // 4],
        spread_s=max(seconds) - min(seconds),
    )


def counted_ms(times: PetTimes) -> list[float]:
    """(0054,1300) of all slices; none where 0 in every slice says that it was not filled in."""
    counted = [frame.reference_ms for frame in times.frames if frame.reference_ms is not None]
    return [] if not counted or (not any(counted) and not times.counts_to_frame_start) else counted


def _each_from_its_own_start(times: PetTimes) -> bool:
    """Whether (0054,1300) is the same in beds of different times."""
    counted = counted_ms(times)
    return bool(counted) and times.acquisitions_differ and max(counted) - min(counted) < _SAME_OFFSET_MS


def first_frame_s(times: PetTimes, half_life_s: float) -> float:
    """Seconds from an acquisition time that all slices share to the start of the first frame, by (0054,1300).

    About 0 in a whole scan. Later in a crop that holds later beds only, and in a late frame of a dynamic scan, whose
    acquisition time is its own and which was corrected to the scan's start: headers don't tell the two apart.
    """
    if times.acquisitions_differ or not counted_ms(times):
        return 0.0
    to_start = counts_to_start(times, half_life_s)
    starts = [
        frame.reference_ms / 1000.0
        - (0.0 if to_start else average_time((frame.duration_ms or 0.0) / 1000.0, half_life_s))
        for frame in times.frames
        if frame.reference_ms is not None
    ]
    return max(0.0, min(starts))


def _carry_the_scans_start(times: PetTimes, half_life_s: float) -> bool:
    """Whether slices may carry the scan's start as their acquisition time, and their bed's offset in (0054,1300)."""
    return not times.acquisitions_differ and first_frame_s(times, half_life_s) <= _LONGEST_SCAN_S


def _frame_readings(times: PetTimes, reference: DicomTime, half_life_s: float) -> Iterator[list[float]]:
    if not counted_ms(times):
        return
    ms = 1e-3

    def start_by_average(frame: FrameTimes) -> float | None:
        if frame.reference_ms is None or not frame.duration_ms:
            return None
        return average_time(frame.duration_ms * ms, half_life_s) - frame.reference_ms * ms

    def start_by_frame(frame: FrameTimes) -> float | None:
        return None if frame.reference_ms is None else -frame.reference_ms * ms

    yield _since(times, reference, start_by_average)
    if counts_to_start(times, half_life_s):
        yield _since(times, reference, start_by_frame)
    if _carry_the_scans_start(times, half_life_s):
        yield _since(times, reference, lambda frame: 0.0)


def counts_to_start(times: PetTimes, half_life_s: float) -> bool:
    """Whether (0054,1300) counts to the frame's start: with GE, and where it is too short otherwise."""
    return times.counts_to_frame_start or _shorter_than_average(times, half_life_s)


def _shorter_than_average(times: PetTimes, half_life_s: float) -> bool:
    """Whether some (0054,1300) is too short to count to the frame's average count rate."""
    return any(
        frame.reference_ms is not None
        and bool(frame.duration_ms)
        and frame.reference_ms / 1000.0 < average_time((frame.duration_ms or 0.0) / 1000.0, half_life_s) - 1.0
        for frame in times.frames
    )


def _factor_readings(times: PetTimes, reference: DicomTime, half_life_s: float) -> Iterator[list[float]]:
    """PS3.3 C.8.9.4: the factor is 2^((average time of the frame − reference time) / half-life)."""
    factors = [frame.decay_factor for frame in times.frames if frame.decay_factor]
    if not factors or all(factor == 1.0 for factor in factors):
        return

    def corrected_s(frame: FrameTimes) -> float | None:
        factor = frame.decay_factor
        return math.log2(factor) * half_life_s if factor is not None and factor > 0 else None

    def by_own_time(frame: FrameTimes) -> float | None:
        seconds = corrected_s(frame)
        if seconds is None or not frame.duration_ms:
            return None
        return average_time(frame.duration_ms / 1000.0, half_life_s) - seconds

    def by_offset(frame: FrameTimes, to_start: bool) -> float | None:
        seconds = corrected_s(frame)
        if seconds is None or frame.reference_ms is None or not frame.duration_ms:
            return None
        average_s = average_time(frame.duration_ms / 1000.0, half_life_s) if to_start else 0.0
        return frame.reference_ms / 1000.0 + average_s - seconds

    yield _since(times, reference, by_own_time)
    if _carry_the_scans_start(times, half_life_s):
        yield _since(times, reference, lambda frame: by_offset(frame, to_start=False))
        yield _since(times, reference, lambda frame: by_offset(frame, to_start=True))


def _since(
    times: PetTimes, reference: DicomTime, offset: Callable[[FrameTimes], float | None]
) -> list[float]:
    """Seconds from a time to each slice's acquisition plus an offset of its own."""
    seconds = []
    for frame in times.frames:
        shift = offset(frame)
        if frame.acquired is not None and shift is not None:
            seconds.append(frame.acquired.seconds_since(reference) + shift)
    return seconds


def time_evidence(
    times: PetTimes, reference: ReferenceTime, injection: DicomTime | None, half_life_s: float
) -> tuple[TimeEvidence, ...]:
    """All elements that speak of the reference time, side by side, the chosen one marked.

    Args:
        times: The series' times.
        reference: The time that was taken.
        injection: The time of injection.
        half_life_s: Half-life of the radionuclide.
    """
    base = reference.time
    acquired = [frame.acquired for frame in times.frames if frame.acquired is not None]
    last = max(acquired, key=lambda time: time.seconds_since(base), default=None)
    named = (
        ("(0018,9701) Decay Correction DateTime", times.decay_correction),
        ("Siemens private (0071,xx22)", times.siemens_decay_correction),
        ("GE private (0009,xx0D)", times.ge_scan),
        ("(0008,0031) Series Time", times.series),
        ("(0008,0032) Acquisition Time, first", times.first_acquisition),
        ("(0008,0032) Acquisition Time, last", last),
    )
    seconds = [(element, time.seconds_since(base)) for element, time in named if time is not None]
    seconds += [
        (f"{opinion.element}, computed back", opinion.median_s)
        for opinion in second_opinions(times, reference, half_life_s)
    ]
    start = None if injection is None else base.seconds_since(injection)
    return tuple(
        TimeEvidence(
            element=element,
            minutes=None if start is None else round((start + apart) / 60.0, 2),
            suv_percent=round(suv_percent(apart, half_life_s), 2),
            chosen=_is_chosen(element, reference),
        )
        for element, apart in seconds
    )


def _is_chosen(element: str, reference: ReferenceTime) -> bool:
    if ", last" in element:
        return False
    return element.split(" ")[0] == reference.element.split(" ")[0] or (
        reference.element.startswith(("Siemens", "GE"))
        and element.startswith(reference.element.split(")")[0])
    )
