"""The time that pixel values are decay-corrected to, and the time of injection.

Follows the decision tree of the QIBA FDG-PET/CT profile's SUV pseudo-code (vendor-neutral,
robust version): the series time if no slice was acquired before it; otherwise GE's
private scan time, the start computed back from the frames, the earliest acquisition.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pipeline.dicom.header.dicom_time import (
    DAY_S,
    DicomTime,
    back_computed_start,
    earliest_acquisition,
    local_moment,
    parse_time,
    series_moment,
    slice_moment,
)
from pipeline.dicom.header.pet_header import PetHeader, SuvAudit
from pipeline.dicom.pet.radionuclide import average_time
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

# Starts computed back from the frames of one scan agree to milliseconds; clocks are rounded to 1 s.
_SPREAD_S = 2.0
# Vendors count decay within a frame to its start, middle or average: a bed takes up to 5 minutes.
_FACTOR_TOLERANCE_S = 300.0
_HALF_DAY_S = DAY_S / 2


def decay_reference(header: PetHeader, half_life_s: float, trace: SuvAudit) -> DicomTime:
    """The moment that a `START`-corrected series' values refer to.

    Raises:
        SuvError: No usable time, or times that contradict each other.
    """
    reference = _explicit(header, trace) or _implied(header, half_life_s, trace)
    _check_decay_factors(header, reference, half_life_s, trace)
    return reference


def _implied(header: PetHeader, half_life_s: float, trace: SuvAudit) -> DicomTime:
    """The reference time where no element names it: series time, vendor's time, frames, acquisitions."""
    series, acquired = series_moment(header), earliest_acquisition(header)
    if series is not None and (acquired is None or -_HALF_DAY_S < series.after(acquired) <= 0):
        if acquired is None:
            trace.assumptions.append("series time is the scan's start: no slice has an acquisition time")
        trace.path.append(
            f"reference time {series.text()}: (0008,0031) Series Time, not after any acquisition"
        )
        _flag_late(series, acquired, trace)
        _flag_frames(header, series, half_life_s, trace)
        return series
    if acquired is None:
        raise SuvError(
            "no usable series or acquisition time",
            where="(0008,0031) Series Time, (0008,0032) Acquisition Time",
            expected="the time that decay was corrected to",
        )
    if series is not None:
        days = abs(series.after(acquired)) / DAY_S
        if days >= 0.5:
            trace.flags.append(f"series and acquisitions are dated {days:.1f} days apart")
        order = "later than" if series.after(acquired) > 0 else "half a day or more before"
        trace.path.append(f"series time {series.text()} is {order} the first acquisition {acquired.text()}")
    return _vendor_start(header, acquired, half_life_s, trace)


def _check_decay_factors(
    header: PetHeader, reference: DicomTime, half_life_s: float, trace: SuvAudit
) -> None:
    """Flag (0054,1321) Decay Factors that speak for another reference time.

    PS3.3 C.8.9.4: the factor that a slice was multiplied by, 2^((start of the frame − reference
    + average time in the frame) / half-life). Factors of 1 throughout say nothing.
    """
    apart = []
    for one in header.slices:
        moment, factor = slice_moment(one, header), one.decay_factor
        if moment is not None and factor is not None and factor > 0 and one.frame_duration_ms:
            average = average_time(one.frame_duration_ms / 1000.0, half_life_s)
            implied = math.log2(factor) * half_life_s - average
            apart.append(moment.after(reference) - implied)
    if not apart or all(one.decay_factor == 1.0 for one in header.slices):
        return
    worst = max(apart, key=abs)
    if abs(worst) > _FACTOR_TOLERANCE_S:
        order = "later" if worst > 0 else "earlier"
        trace.flags.append(
            f"(0054,1321) Decay Factor speaks for a reference time {abs(worst) / 60:.0f} min {order}"
        )


def _explicit(header: PetHeader, trace: SuvAudit) -> DicomTime | None:
    """A time that says of itself to be the decay correction's."""
    for text, name in (
        (header.decay_datetime, "(0018,9701) Decay Correction DateTime"),
        (header.siemens_decay_datetime, "Siemens private (0071,xx22) Decay Correction DateTime"),
    ):
        moment = local_moment(text, header.timezone)
        if moment is not None:
            acquired = earliest_acquisition(header)
            moment = _same_day(moment, acquired, name, trace)
            trace.path.append(f"reference time {moment.text()}: {name}")
            late = 0.0 if acquired is None else moment.after(acquired)
            if late > 60:
                trace.flags.append(f"{name} is {late / 60:.0f} min after the first acquisition")
            return moment
    return None


def _same_day(moment: DicomTime, acquired: DicomTime | None, name: str, trace: SuvAudit) -> DicomTime:
    """Bring a private date that de-identification left alone to the day of the acquisition."""
    if acquired is None or acquired.day is None or abs(moment.after(acquired)) < _HALF_DAY_S:
        return moment
    trace.assumptions.append(f"only the time of day of {name} used: its date is not the acquisition's")
    days = (acquired.day - 1, acquired.day, acquired.day + 1)
    nearest = min((replace(moment, day=d) for d in days), key=lambda m: abs(m.after(acquired)))
    return nearest


def _flag_late(series: DicomTime, acquired: DicomTime | None, trace: SuvAudit) -> None:
    wait = 0.0 if acquired is None else acquired.after(series)
    if wait > 3600:
        trace.flags.append(f"the first acquisition is {wait / 60:.0f} min after the series time")


def _flag_frames(header: PetHeader, series: DicomTime, half_life_s: float, trace: SuvAudit) -> None:
    """Flag frames that agree on a scan start long after the series time (altered, or the CT's).

    An earlier start says nothing: Philips gives all slices the first one's acquisition time.
    """
    back = back_computed_start(header, half_life_s)
    if back is None or back.spread_s > _SPREAD_S:
        return
    wait = back.start.after(series)
    if wait > _FACTOR_TOLERANCE_S:
        trace.flags.append(
            f"(0054,1300) Frame Reference Time speaks for a scan start {wait / 60:.0f} min after the series time"
        )


def _vendor_start(header: PetHeader, acquired: DicomTime, half_life_s: float, trace: SuvAudit) -> DicomTime:
    ge = local_moment(header.ge_scan_datetime, header.timezone)
    if ge is not None:
        ge = _same_day(ge, acquired, "GE private (0009,xx0D)", trace)
        trace.path.append(f"reference time {ge.text()}: GE private (0009,xx0D) scan date and time")
        return ge
    back = back_computed_start(header, half_life_s)
    if back is not None and back.spread_s <= _SPREAD_S:
        meaning = "frame's start" if back.from_frame_start else "frame's average count rate"
        trace.path.append(
            f"reference time {back.start.text()}: acquisition time less (0054,1300) Frame Reference "
            f"Time, which counts to the {meaning}"
        )
        if back.from_frame_start:
            trace.assumptions.append("(0054,1300) counts to the frame's start (GE, or too short otherwise)")
        return back.start
    if back is not None and _acquisitions_differ(header):
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


def _acquisitions_differ(header: PetHeader) -> bool:
    return len({(s.acquisition_date, s.acquisition_time) for s in header.slices}) > 1


def injection_moment(header: PetHeader, scan: DicomTime, settings: SuvSettings, trace: SuvAudit) -> DicomTime:
    """The moment of injection, at most `max_uptake_minutes` before the scan.

    Raises:
        SuvError: Missing, contradictory, after the scan, or too long before it.
    """
    dated = local_moment(header.injection_datetime, header.timezone)
    clock = parse_time(header.injection_time)
    if dated is None and clock is None:
        raise SuvError(
            "missing or unreadable injection time",
            where="(0018,1072) Radiopharmaceutical Start Time, (0018,1078) Start DateTime",
            expected="the time of injection",
            got=header.injection_datetime or header.injection_time or "none",
        )
    if dated is None:
        assert clock is not None
        return _clock_only(clock, scan, settings, trace, "(0018,1072) Radiopharmaceutical Start Time")
    _require_agreement(dated, clock, trace)
    dated = _on_the_scans_clock(dated, clock, scan, trace)
    if scan.day is None:
        return _clock_only(dated.seconds, scan, settings, trace, "(0018,1078) without a date of the scan")
    uptake = scan.after(dated)
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
    if scan.after(injection) < 0:
        injection = injection.shifted(-DAY_S)
        trace.assumptions.append("injection on the day before the scan: its time of day is the later one")
    else:
        trace.assumptions.append("injection on the day of the scan")
    if scan.after(injection) > settings.max_uptake_minutes * 60:
        raise _refusal(DicomTime(scan.day, seconds), scan, settings, "correct the times")
    trace.path.append(f"injection {injection.text()}: {name}")
    return injection


def _require_agreement(dated: DicomTime, clock: float | None, trace: SuvAudit) -> None:
    if clock is None:
        return
    gap = abs((dated.seconds - clock + _HALF_DAY_S) % DAY_S - _HALF_DAY_S)
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
    minutes = scan.after(injection) / 60
    order = "after the scan" if minutes < 0 else "too long before the scan"
    return SuvError(
        f"the injection lies {order}",
        where="(0018,1078) or (0018,1072) of the injection; the scan's reference time",
        expected=f"0 to {settings.max_uptake_minutes:g} min from injection to scan",
        got=f"{minutes:.1f} min: injection {injection.text()}, scan {scan.text()}",
        action=action,
    )
