"""The time that pixel values are decay-corrected to, and the time of injection.

Follows the decision tree of the QIBA FDG-PET/CT profile's SUV pseudo-code (vendor-neutral,
robust version): the series time if no slice was acquired before it; otherwise GE's
private scan time, the start computed back from the frames, the earliest acquisition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pipeline.dicom.header.dicom_time import DAY_S, HALF_DAY_S, DicomTime, PetTimes
from pipeline.dicom.header.pet_header import SuvAudit
from pipeline.dicom.pet.radionuclide import average_time
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

# Starts computed back from the frames of one scan agree to milliseconds; clocks are rounded to 1 s.
_SPREAD_S = 2.0
# Vendors count decay within a frame to its start, middle or average: a bed takes up to 5 minutes.
_FACTOR_TOLERANCE_S = 300.0


def decay_reference(times: PetTimes, half_life_s: float, trace: SuvAudit) -> DicomTime:
    """The moment that a `START`-corrected series' values refer to.

    Raises:
        SuvError: No usable time, or times that contradict each other.
    """
    reference = _explicit(times, trace) or _implied(times, half_life_s, trace)
    _check_decay_factors(times, reference, half_life_s, trace)
    return reference


def _implied(times: PetTimes, half_life_s: float, trace: SuvAudit) -> DicomTime:
    """The reference time where no element names it: series time, vendor's time, frames, acquisitions."""
    series, acquired = times.series, times.first_acquisition
    if series is not None and (acquired is None or -HALF_DAY_S < series.seconds_since(acquired) <= 0):
        if acquired is None:
            trace.assumptions.append("series time is the scan's start: no slice has an acquisition time")
        trace.path.append(
            f"reference time {series.text()}: (0008,0031) Series Time, not after any acquisition"
        )
        _flag_late(series, acquired, trace)
        _flag_frames(times, series, half_life_s, trace)
        return series
    if acquired is None:
        raise SuvError(
            "no usable series or acquisition time",
            where="(0008,0031) Series Time, (0008,0032) Acquisition Time",
            expected="the time that decay was corrected to",
        )
    if series is not None:
        days = abs(series.seconds_since(acquired)) / DAY_S
        if days >= 0.5:
            trace.flags.append(f"series and acquisitions are dated {days:.1f} days apart")
        order = "later than" if series.seconds_since(acquired) > 0 else "half a day or more before"
        trace.path.append(f"series time {series.text()} is {order} the first acquisition {acquired.text()}")
    return _vendor_start(times, acquired, half_life_s, trace)


def _check_decay_factors(times: PetTimes, reference: DicomTime, half_life_s: float, trace: SuvAudit) -> None:
    """Flag (0054,1321) Decay Factors that speak for another reference time.

    PS3.3 C.8.9.4: the factor that a slice was multiplied by, 2^((start of the frame − reference
    + average time in the frame) / half-life). Factors of 1 throughout say nothing.
    """
    apart = []
    for frame in times.frames:
        moment, factor = frame.acquired, frame.decay_factor
        if moment is not None and factor is not None and factor > 0 and frame.duration_ms:
            average = average_time(frame.duration_ms / 1000.0, half_life_s)
            implied = math.log2(factor) * half_life_s - average
            apart.append(moment.seconds_since(reference) - implied)
    if not apart or all(frame.decay_factor == 1.0 for frame in times.frames):
        return
    worst = max(apart, key=abs)
    if abs(worst) > _FACTOR_TOLERANCE_S:
        order = "later" if worst > 0 else "earlier"
        trace.flags.append(
            f"(0054,1321) Decay Factor speaks for a reference time {abs(worst) / 60:.0f} min {order}"
        )


def _explicit(times: PetTimes, trace: SuvAudit) -> DicomTime | None:
    """A time that says of itself to be the decay correction's."""
    for moment, name in (
        (times.decay_correction, "(0018,9701) Decay Correction DateTime"),
        (times.siemens_decay_correction, "Siemens private (0071,xx22) Decay Correction DateTime"),
    ):
        if moment is not None:
            acquired = times.first_acquisition
            moment = _same_day(moment, acquired, name, trace)
            trace.path.append(f"reference time {moment.text()}: {name}")
            late = 0.0 if acquired is None else moment.seconds_since(acquired)
            if late > 60:
                trace.flags.append(f"{name} is {late / 60:.0f} min after the first acquisition")
            return moment
    return None


def _same_day(moment: DicomTime, acquired: DicomTime | None, name: str, trace: SuvAudit) -> DicomTime:
    """Bring a private date that de-identification left alone to the day of the acquisition."""
    if acquired is None or acquired.day is None or abs(moment.seconds_since(acquired)) < HALF_DAY_S:
        return moment
    trace.assumptions.append(f"only the time of day of {name} used: its date is not the acquisition's")
    days = (acquired.day - 1, acquired.day, acquired.day + 1)
    nearest = min((replace(moment, day=d) for d in days), key=lambda m: abs(m.seconds_since(acquired)))
    return nearest


def _flag_late(series: DicomTime, acquired: DicomTime | None, trace: SuvAudit) -> None:
    wait = 0.0 if acquired is None else acquired.seconds_since(series)
    if wait > 3600:
        trace.flags.append(f"the first acquisition is {wait / 60:.0f} min after the series time")


def _flag_frames(times: PetTimes, series: DicomTime, half_life_s: float, trace: SuvAudit) -> None:
    """Flag frames that agree on a scan start long after the series time (altered, or the CT's).

    An earlier start says nothing: Philips gives all slices the first one's acquisition time.
    """
    back = back_computed_start(times, half_life_s)
    if back is None or back.spread_s > _SPREAD_S:
        return
    wait = back.start.seconds_since(series)
    if wait > _FACTOR_TOLERANCE_S:
        trace.flags.append(
            f"(0054,1300) Frame Reference Time speaks for a scan start {wait / 60:.0f} min after the series time"
        )


def _vendor_start(times: PetTimes, acquired: DicomTime, half_life_s: float, trace: SuvAudit) -> DicomTime:
    if times.ge_scan is not None:
        ge = _same_day(times.ge_scan, acquired, "GE private (0009,xx0D)", trace)
        trace.path.append(f"reference time {ge.text()}: GE private (0009,xx0D) scan date and time")
        return ge
    back = back_computed_start(times, half_life_s)
    if back is not None and back.spread_s <= _SPREAD_S:
        meaning = "frame's start" if back.from_frame_start else "frame's average count rate"
        trace.path.append(
            f"reference time {back.start.text()}: acquisition time less (0054,1300) Frame Reference "
            f"Time, which counts to the {meaning}"
        )
        if back.from_frame_start:
            trace.assumptions.append("(0054,1300) counts to the frame's start (GE, or too short otherwise)")
        return back.start
    if back is not None and times.acquisitions_differ:
        raise SuvError(
            "the time that decay was corrected to is not clear",
            where="(0008,0031) Series Time, (0008,0032) Acquisition Time, (0054,1300) Frame Reference Time",
            expected="a series time before the acquisitions, or frames that agree on the scan's start",
            got=f"scan starts that differ by {back.spread_s:.0f} s between slices",
        )
    trace.assumptions.append("the scan starts with its earliest acquisition: no frame says more")
    trace.path.append(
        f"reference time {acquired.text()}: earliest (0008,0032) Acquisition Time of all slices"
    )
    return acquired


@dataclass(frozen=True)
class BackComputed:
    """Scan starts computed back from the slices' frames.

    Attributes:
        start: Their median.
        spread_s: Largest less smallest.
        from_frame_start: (0054,1300) counts to the frame's start, not to its average.
    """

    start: DicomTime
    spread_s: float
    from_frame_start: bool


def back_computed_start(times: PetTimes, half_life_s: float) -> BackComputed | None:
    """Scan start = acquisition time − frame reference time + average time within the frame.

    QIBA's robust way for series whose own time was altered. (0054,1300) Frame Reference
    Time is the offset from the scan's start to the frame's average count rate. GE counts it
    to the frame's start instead (seen: 0 in the first bed, multiples of the bed interval
    after it), and so does any file where it is shorter than the average time.
    None where no slice has all three values.
    """
    known: list[tuple[DicomTime, float, float]] = []
    for frame in times.frames:
        if frame.acquired is not None and frame.reference_ms is not None and frame.duration_ms:
            average = average_time(frame.duration_ms / 1000.0, half_life_s)
            known.append((frame.acquired, frame.reference_ms / 1000.0, average))
    if not known or all(reference <= 0 for _, reference, _ in known):
        return None
    plain = times.counts_to_frame_start or any(r < a - 1.0 for _, r, a in known)
    base = known[0][0]
    starts = sorted(t.seconds_since(base) - r + (0.0 if plain else a) for t, r, a in known)
    return BackComputed(base.shifted(starts[len(starts) // 2]), starts[-1] - starts[0], plain)


def injection_moment(times: PetTimes, scan: DicomTime, settings: SuvSettings, trace: SuvAudit) -> DicomTime:
    """The moment of injection, at most `max_uptake_minutes` before the scan.

    Raises:
        SuvError: Missing, contradictory, after the scan, or too long before it.
    """
    dated, clock = times.injection, times.injection_clock_s
    if dated is None and clock is None:
        raise SuvError(
            "missing or unreadable injection time",
            where="(0018,1072) Radiopharmaceutical Start Time, (0018,1078) Start DateTime",
            expected="the time of injection",
            got=times.injection_written or "none",
        )
    if dated is None:
        assert clock is not None
        return _clock_only(clock, scan, settings, trace, "(0018,1072) Radiopharmaceutical Start Time")
    _require_agreement(dated, clock, trace)
    dated = _on_the_scans_clock(dated, clock, scan, trace)
    if scan.day is None:
        return _clock_only(dated.seconds, scan, settings, trace, "(0018,1078) without a date of the scan")
    uptake = scan.seconds_since(dated)
    if 0 <= uptake <= settings.max_uptake_minutes * 60:
        trace.path.append(f"injection {dated.text()}: (0018,1078) Radiopharmaceutical Start DateTime")
        return dated
    if settings.date_shift == "use_times":
        trace.assumptions.append(
            "dates of injection and scan contradict each other: times of day used by suv.date_shift"
        )
        return _clock_only(dated.seconds, scan, settings, trace, "(0018,1078), its time of day")
    raise _refusal(
        dated,
        scan,
        settings,
        "correct the dates, or set suv.date_shift: use_times if de-identification shifted them",
    )


def _on_the_scans_clock(dated: DicomTime, clock: float | None, scan: DicomTime, trace: SuvAudit) -> DicomTime:
    """Refuse an offset from UTC that cannot be related to the scan's times, unless (0018,1072) does."""
    if dated.offset_min is None or scan.offset_min is not None:
        return dated
    if clock is None:
        raise SuvError(
            "the injection's time zone cannot be related to the scan's",
            where="(0018,1078) Radiopharmaceutical Start DateTime, (0008,0201) Timezone Offset From UTC",
            expected="a time zone of the scan, or no offset in the injection's",
            got=f"{dated.text()} with {dated.offset_min / 60:+g} h, and no (0008,0201)",
            action="write (0008,0201) into the DICOM, or (0018,1072) Radiopharmaceutical Start Time",
        )
    trace.assumptions.append("(0018,1078) is on the clock of (0018,1072), with which its reading agrees")
    return replace(dated, offset_min=None)


def _clock_only(
    seconds: float, scan: DicomTime, settings: SuvSettings, trace: SuvAudit, name: str
) -> DicomTime:
    """An injection without date: the latest such time of day that is not after the scan."""
    injection = DicomTime(scan.day, seconds)
    if scan.seconds_since(injection) < 0:
        injection = injection.shifted(-DAY_S)
        trace.assumptions.append("injection on the day before the scan: its time of day is the later one")
    else:
        trace.assumptions.append("injection on the day of the scan")
    if scan.seconds_since(injection) > settings.max_uptake_minutes * 60:
        raise _refusal(DicomTime(scan.day, seconds), scan, settings, "correct the times")
    trace.path.append(f"injection {injection.text()}: {name}")
    return injection


def _require_agreement(dated: DicomTime, clock: float | None, trace: SuvAudit) -> None:
    if clock is None:
        return
    gap = abs((dated.seconds - clock + HALF_DAY_S) % DAY_S - HALF_DAY_S)
    if gap > 60:
        raise SuvError(
            "two injection times contradict each other",
            where="(0018,1078) Radiopharmaceutical Start DateTime, (0018,1072) Start Time",
            expected="the same time of day",
            got=f"{dated.text()} and {DicomTime(None, clock).text()}",
        )
    if gap > 0.5:
        trace.flags.append(f"(0018,1072) and (0018,1078) differ by {gap:.0f} s; the latter is used")


def _refusal(injection: DicomTime, scan: DicomTime, settings: SuvSettings, action: str) -> SuvError:
    minutes = scan.seconds_since(injection) / 60
    order = "after the scan" if minutes < 0 else "too long before the scan"
    return SuvError(
        f"the injection lies {order}",
        where="(0018,1078) or (0018,1072) of the injection; the scan's reference time",
        expected=f"0 to {settings.max_uptake_minutes:g} min from injection to scan",
        got=f"{minutes:.1f} min: injection {injection.text()}, scan {scan.text()}",
        action=action,
    )
