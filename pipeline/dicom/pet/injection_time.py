"""The time of injection, and the uptake time from it to the scan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.dicom.header.dicom_time import DAY_S, HALF_DAY_S, DicomTime, PetTimes
from pipeline.dicom.header.pet_header import SuvAudit
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

# A nuclide with a half-life from here on (Cu-64, Y-86, Br-76, Zr-89, I-124) leaves a measurable dose a day
# later, and is scanned then.
_SCANNED_DAYS_LATER_S = 6 * 3600.0
_SCAN = "the scan's reference time"
# Two clock readings of one injection: rounding below, a contradiction above.
_ROUNDED_S, _SAME_MINUTE_S = 0.5, 60.0


@dataclass(frozen=True)
class InjectionTime:
    """The time of injection, and how it was found."""

    time: DicomTime
    audit: SuvAudit


@dataclass(frozen=True)
class UptakeTime:
    """The time from injection to the first acquisition.

    Attributes:
        minutes: None where the headers don't say.
        audit: Why it is not known, or not certain.
    """

    minutes: float | None
    audit: SuvAudit


def injection_time(
    times: PetTimes,
    scan: DicomTime,
    settings: SuvSettings,
    half_life_s: float | None = None,
    scan_element: str = "(0008,0032) Acquisition Time",
) -> InjectionTime:
    """The time of injection, at most `max_uptake_minutes` before the scan.

    Args:
        times: The series' times.
        scan: The scan's reference time.
        settings: The longest uptake time, and what is done where dates contradict each other.
        half_life_s: half-life of the radionuclide (s); from 6 h on, a time of day without its date is not enough.
        scan_element: The element that the scan's time was read from, for messages.

    Raises:
        SuvError: Missing, contradictory, after the scan, or too long before it.
    """
    try:
        return _injection_time(times, scan, settings, half_life_s)
    except SuvError as error:
        error.where = error.where.replace(_SCAN, f"{scan_element} of the scan")
        raise


def _injection_time(
    times: PetTimes, scan: DicomTime, settings: SuvSettings, half_life_s: float | None
) -> InjectionTime:
    dated, clock_s = times.injection, times.injection_clock_s
    written_s = dated.seconds if dated is not None else clock_s
    if written_s == 0 and scan.seconds == 0:
        raise SuvError(
            "the times of injection and scan were blanked",
            where=f"(0018,1072) or (0018,1078) of the injection; {_SCAN}",
            expected="times of day",
            got="000000 in both",
            action="export the series again with its times, which SUV needs",
        )
    if dated is not None:
        agreement = _agreement(dated, clock_s)
        related = _on_the_scans_clock(dated, clock_s, scan)
        injection = _dated_injection(related.time, scan, settings, half_life_s)
        return replace(injection, audit=agreement + related.audit + injection.audit)
    if clock_s is not None:
        _require_known_day(half_life_s, "(0018,1072) Radiopharmaceutical Start Time")
        if scan.offset_min is not None:
            raise _unrelated_clocks(
                f"injection {DicomTime(None, clock_s).text()}, scan {_with_offset(scan)}, and no (0008,0201)",
                "(0018,1072) Radiopharmaceutical Start Time, (0008,0032) or (0008,002A) Acquisition Time, "
                "(0008,0201) Timezone Offset From UTC",
            )
        return _injection_by_clock(clock_s, scan, settings, "(0018,1072) Radiopharmaceutical Start Time")
    raise SuvError(
        "missing or unreadable injection time",
        where="(0018,1072) Radiopharmaceutical Start Time, (0018,1078) Start DateTime",
        expected="the time of injection",
        got=times.injection_written or "none",
    )


def _agreement(dated: DicomTime, clock_s: float | None) -> SuvAudit:
    """Refuse an injection whose two elements name different times of day."""
    if clock_s is None:
        return SuvAudit()
    gap_s = abs((dated.seconds - clock_s + HALF_DAY_S) % DAY_S - HALF_DAY_S)
    if gap_s > _SAME_MINUTE_S:
        raise SuvError(
            "two injection times contradict each other",
            where="(0018,1078) Radiopharmaceutical Start DateTime, (0018,1072) Start Time",
            expected="the same time of day",
            got=f"{dated.text()} and {DicomTime(None, clock_s).text()}",
        )
    if gap_s > _ROUNDED_S:
        return SuvAudit(flags=(f"(0018,1072) and (0018,1078) differ by {gap_s:.0f} s; the latter is used",))
    return SuvAudit()


def _on_the_scans_clock(dated: DicomTime, clock_s: float | None, scan: DicomTime) -> InjectionTime:
    """Refuse an offset from UTC of one side that cannot be related to the other's, unless (0018,1072) does."""
    if (dated.offset_min is None) == (scan.offset_min is None):
        return InjectionTime(dated, SuvAudit())
    if dated.offset_min is None or clock_s is None:
        raise _unrelated_clocks(
            f"injection {_with_offset(dated)}, scan {_with_offset(scan)}, and no (0008,0201)",
            "(0018,1078) Radiopharmaceutical Start DateTime, (0008,0201) Timezone Offset From UTC",
        )
    assumption = "(0018,1078) is on the clock of (0018,1072), with which its reading agrees"
    return InjectionTime(replace(dated, offset_min=None), SuvAudit(assumptions=(assumption,)))


def _with_offset(time: DicomTime) -> str:
    return time.text() if time.offset_min is None else f"{time.text()} with {time.offset_min / 60:+g} h"


def _unrelated_clocks(got: str, where: str) -> SuvError:
    return SuvError(
        "the injection's time zone cannot be related to the scan's",
        where=where,
        expected="an offset from UTC in both times or in neither, or (0008,0201)",
        got=got,
        action="write (0008,0201) into the DICOM, or (0018,1072) Radiopharmaceutical Start Time on the scan's clock",
    )


def _require_known_day(half_life_s: float | None, where: str) -> None:
    """Refuse a time of day of a nuclide that may be scanned a day or more after its injection."""
    if half_life_s is None or half_life_s < _SCANNED_DAYS_LATER_S:
        return
    raise SuvError(
        "the day of the injection is not known, and the radionuclide can be scanned a day later",
        where=where,
        expected="(0018,1078) Radiopharmaceutical Start DateTime, dated on the scan's clock",
        got=f"a time of day, and a half-life of {half_life_s / 3600:.0f} h",
        action="write (0018,1078) with the date of the injection into the DICOM",
    )


def _dated_injection(
    dated: DicomTime, scan: DicomTime, settings: SuvSettings, half_life_s: float | None
) -> InjectionTime:
    """An injection with its date; by its time of day where the dates cannot be compared."""
    if scan.day is None:
        _require_known_day(half_life_s, "(0018,1078), (0008,0022) Acquisition Date")
        return _injection_by_clock(dated.seconds, scan, settings, "(0018,1078) without a date of the scan")
    if 0 <= scan.seconds_since(dated) <= settings.max_uptake_minutes * 60:
        step = f"injection {dated.text()}: (0018,1078) Radiopharmaceutical Start DateTime"
        return InjectionTime(dated, SuvAudit(path=(step,)))
    if settings.date_shift == "use_times":
        _require_known_day(half_life_s, "(0018,1078), whose date contradicts the scan's")
        assumption = "dates of injection and scan contradict each other: times of day used by suv.date_shift"
        injection = _injection_by_clock(dated.seconds, scan, settings, "(0018,1078), its time of day")
        return replace(injection, audit=SuvAudit(assumptions=(assumption,)) + injection.audit)
    raise _implausible_uptake(
        dated,
        scan,
        settings,
        action="correct the dates, or set suv.date_shift: use_times if de-identification shifted them",
    )


def _injection_by_clock(
    clock_s: float, scan: DicomTime, settings: SuvSettings, element: str
) -> InjectionTime:
    """An injection without date: the latest such time of day that is not after the scan."""
    injection = DicomTime(scan.day, clock_s)
    assumption = "injection on the day of the scan"
    if scan.seconds_since(injection) < 0:
        injection = injection.shifted(-DAY_S)
        assumption = "injection on the day before the scan: its time of day is the later one"
    if scan.seconds_since(injection) > settings.max_uptake_minutes * 60:
        written = DicomTime(scan.day, clock_s)
        raise _implausible_uptake(written, scan, settings, action="correct the times")
    path = (f"injection {injection.text()}: {element}",)
    return InjectionTime(injection, SuvAudit(path, assumptions=(assumption,)))


def _implausible_uptake(
    injection: DicomTime, scan: DicomTime, settings: SuvSettings, action: str
) -> SuvError:
    minutes = scan.seconds_since(injection) / 60
    if minutes > settings.max_uptake_minutes:
        action += ", or raise suv.max_uptake_minutes where the scan was so late (long-lived nuclides)"
    order = "after the scan" if minutes < 0 else "too long before the scan"
    return SuvError(
        f"the injection lies {order}",
        where=f"(0018,1078) or (0018,1072) of the injection; {_SCAN}",
        expected=f"0 to {settings.max_uptake_minutes:g} min from injection to scan",
        got=f"{minutes:.1f} min: injection {injection.text()}, scan {scan.text()}",
        action=action,
    )


def uptake_time(times: PetTimes, settings: SuvSettings) -> UptakeTime:
    """The time from injection to the first acquisition, for the audit; no reason to refuse."""
    scan = times.first_acquisition
    if scan is None:
        return UptakeTime(None, SuvAudit())
    try:
        minutes = scan.seconds_since(injection_time(times, scan, settings).time) / 60.0
        return UptakeTime(minutes, SuvAudit())
    except SuvError as error:
        reason = error.problem
    by_clock = settings.model_copy(update={"date_shift": "use_times"})
    try:
        minutes = scan.seconds_since(injection_time(times, scan, by_clock).time) / 60.0
    except SuvError:
        return UptakeTime(None, SuvAudit(flags=(f"uptake time unknown: {reason}",)))
    flag = f"uptake time by the times of day alone: by their dates, {reason}"
    return UptakeTime(minutes, SuvAudit(flags=(flag,)))
