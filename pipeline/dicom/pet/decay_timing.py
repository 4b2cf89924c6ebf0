"""The time that the pixel values of a decay-corrected series refer to.

Follows the decision tree of the QIBA FDG-PET/CT profile's SUV pseudo-code (vendor-neutral,
robust version), with GE's private scan time before the series time (IBSI-SUV manual: they differ in a
quarter of GE's series): the series time if no slice was acquired before it; otherwise the start
computed back from the frames, the earliest acquisition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pipeline.dicom.header.dicom_time import HALF_DAY_S, DicomTime, PetTimes
from pipeline.dicom.header.pet_header import SuvAudit
from pipeline.dicom.pet.radionuclide import average_time
from pipeline.errors import SuvError

# Starts computed back from the frames of one scan agree to milliseconds; clocks are rounded to 1 s.
_SPREAD_S = 2.0


@dataclass(frozen=True)
class ReferenceTime:
    """The time that pixel values refer to, and how it was found.

    Attributes:
        time: The time.
        source: An element that names the decay correction's time (with GE, the scan's), the series time,
            what says when the scan started, or the injection itself (decay correction `ADMIN`).
        element: The element it was read from, as messages call it.
        audit: The decisions that led to it.
    """

    time: DicomTime
    source: Literal["decay_correction", "series", "scan", "injection"]
    element: str
    audit: SuvAudit


@dataclass(frozen=True)
class ScanStart:
    """The scan's start as computed back from the slices' frames.

    Attributes:
        time: Median over the slices.
        spread_s: Largest less smallest.
        from_frame_start: (0054,1300) counts to the frame's start, not to its average.
    """

    time: DicomTime
    spread_s: float
    from_frame_start: bool

    @property
    def agreed(self) -> bool:
        """Whether the frames agree on it."""
        return self.spread_s <= _SPREAD_S


def reference_time(times: PetTimes, half_life_s: float) -> ReferenceTime:
    """The time that the values of a series with decay correction `START` refer to.

    Args:
        times: The series' times.
        half_life_s: Half-life of the radionuclide.

    Raises:
        SuvError: No usable time, or times that contradict each other.
    """
    return _named_time(times) or _series_time(times) or _scan_time(times, half_life_s)


def _named_time(times: PetTimes) -> ReferenceTime | None:
    """A time that says of itself that it is the decay correction's."""
    for time, element in (
        (times.decay_correction, "(0018,9701) Decay Correction DateTime"),
        (times.siemens_decay_correction, "Siemens private (0071,xx22) Decay Correction DateTime"),
        (times.ge_scan, "GE private (0009,xx0D) scan date and time"),
    ):
        if time is not None:
            return _private_time(time, times.first_acquisition, element)
    return None


def _private_time(time: DicomTime, acquired: DicomTime | None, element: str) -> ReferenceTime:
    """A time whose date counts only near the acquisition: de-identification may have left it alone."""
    assumptions: tuple[str, ...] = ()
    if acquired is not None and acquired.day is not None and not _within_half_a_day(time, acquired):
        days = (acquired.day - 1, acquired.day, acquired.day + 1)
        dated = (replace(time, day=day) for day in days)
        time = min(dated, key=lambda candidate: abs(candidate.seconds_since(acquired)))
        assumptions = (f"only the time of day of {element} used: its date is not the acquisition's",)
    path = (f"reference time {time.text()}: {element}",)
    return ReferenceTime(time, "decay_correction", element, SuvAudit(path, assumptions))


def _within_half_a_day(time: DicomTime, acquired: DicomTime) -> bool:
    return abs(time.seconds_since(acquired)) < HALF_DAY_S


def _series_time(times: PetTimes) -> ReferenceTime | None:
    """The series time, if no slice was acquired before it, or half a day or more after it."""
    series, acquired = times.series, times.first_acquisition
    if series is None or (acquired is not None and not -HALF_DAY_S < series.seconds_since(acquired) <= 0):
        return None
    assumptions: tuple[str, ...] = ()
    if acquired is None:
        assumptions = ("series time is the scan's start: no slice has an acquisition time",)
    path = (f"reference time {series.text()}: (0008,0031) Series Time, not after any acquisition",)
    return ReferenceTime(series, "series", "(0008,0031) Series Time", SuvAudit(path, assumptions))


def _scan_time(times: PetTimes, half_life_s: float) -> ReferenceTime:
    """The scan's start by the frames, or by the earliest acquisition."""
    series, acquired = times.series, times.first_acquisition
    if acquired is None:
        raise SuvError(
            "no usable series or acquisition time",
            where="(0008,0031) Series Time, (0008,0032) Acquisition Time",
            expected="the time that decay was corrected to",
        )
    rejected = SuvAudit()
    if series is not None:
        order = "later than" if series.seconds_since(acquired) > 0 else "half a day or more before"
        rejected = SuvAudit(
            path=(f"series time {series.text()} is {order} the first acquisition {acquired.text()}",)
        )
    start = _scan_start(times, acquired, half_life_s)
    return replace(start, audit=rejected + start.audit)


def _scan_start(times: PetTimes, acquired: DicomTime, half_life_s: float) -> ReferenceTime:
    computed = computed_scan_start(times, half_life_s)
    if computed is not None and computed.agreed:
        return _by_frames(computed)
    if computed is not None and times.acquisitions_differ:
        raise SuvError(
            "the time that decay was corrected to is not clear",
            where="(0008,0031) Series Time, (0008,0032) Acquisition Time, (0054,1300) Frame Reference Time",
            expected="a series time before the acquisitions, or frames that agree on the scan's start",
            got=f"scan starts that differ by {computed.spread_s:.0f} s between slices",
        )
    path = (f"reference time {acquired.text()}: earliest (0008,0032) Acquisition Time of all slices",)
    assumptions = ("the scan starts with its earliest acquisition: no frame says more",)
    flags = ("the time that decay was corrected to is the earliest acquisition's: nothing confirms it",)
    return ReferenceTime(acquired, "scan", "(0008,0032) Acquisition Time", SuvAudit(path, assumptions, flags))


def _by_frames(computed: ScanStart) -> ReferenceTime:
    meaning = "frame's start" if computed.from_frame_start else "frame's average count rate"
    path = (
        f"reference time {computed.time.text()}: acquisition time less (0054,1300) Frame Reference "
        f"Time, which counts to the {meaning}",
    )
    assumptions: tuple[str, ...] = ()
    if computed.from_frame_start:
        assumptions = ("(0054,1300) counts to the frame's start (GE, or too short otherwise)",)
    element = "(0054,1300) Frame Reference Time"
    return ReferenceTime(computed.time, "scan", element, SuvAudit(path, assumptions))


@dataclass(frozen=True)
class _FrameOffset:
    """What one slice says of the scan's start.

    Attributes:
        acquired: Start of its frame.
        reference_s: (0054,1300) Frame Reference Time.
        average_s: Time after the frame's start at which the activity equals the frame's mean.
    """

    acquired: DicomTime
    reference_s: float
    average_s: float


def computed_scan_start(times: PetTimes, half_life_s: float) -> ScanStart | None:
    """Scan start = acquisition time − frame reference time + average time within the frame.

    QIBA's robust way for series whose own time was altered. (0054,1300) Frame Reference
    Time is the offset from the scan's start to the frame's average count rate. GE counts it
    to the frame's start instead (seen: 0 in the first bed, multiples of the bed interval
    after it), and so does any file where it is shorter than the average time.
    None where no slice has all three values.
    """
    offsets = [
        _FrameOffset(
            frame.acquired,
            frame.reference_ms / 1000.0,
            average_time(frame.duration_ms / 1000.0, half_life_s),
        )
        for frame in times.frames
        if frame.acquired is not None and frame.reference_ms is not None and frame.duration_ms
    ]
    if not offsets or all(offset.reference_s <= 0 for offset in offsets):
        return None
    from_frame_start = times.counts_to_frame_start or any(
        offset.reference_s < offset.average_s - 1.0 for offset in offsets
    )
    base = offsets[0].acquired
    starts = sorted(
        offset.acquired.seconds_since(base)
        - offset.reference_s
        + (0.0 if from_frame_start else offset.average_s)
        for offset in offsets
    )
    return ScanStart(base.shifted(starts[len(starts) // 2]), starts[-1] - starts[0], from_frame_start)
