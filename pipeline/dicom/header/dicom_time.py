"""Dates and times of DICOM headers: each is parsed once, and compared in seconds."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from pipeline.dicom.header.frames import CONVERTED_FRAME, functional_group
from pipeline.dicom.header.values import items_of, number_of, one_text_of, text_of

DAY_S = 86400.0
HALF_DAY_S = DAY_S / 2
# De-identification moves dates by decades; days and nights are added to them without a check.
_YEARS = (1700, 2300)
_TIME = re.compile(r"^(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d*)?)?)?$")
_DATE = re.compile(r"^(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})$")
_DATETIME = re.compile(r"^(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d*)?)?)?)([+-]\d{4})?$")


@dataclass(frozen=True)
class DicomTime:
    """A point in time as a header gives it.

    Attributes:
        day: Proleptic ordinal of the date; None where the file gives no date.
        seconds: Seconds since midnight, fractions included.
        offset_min: Minutes east of UTC where the value says so.
    """

    day: int | None
    seconds: float
    offset_min: int | None = None

    def seconds_since(self, other: DicomTime) -> float:
        """Seconds from another time to this one; by the time of day alone if a date is missing.

        Offsets from UTC count where both times have one.
        """
        days = 0 if self.day is None or other.day is None else self.day - other.day
        zones = (
            0 if self.offset_min is None or other.offset_min is None else self.offset_min - other.offset_min
        )
        return days * DAY_S + self.seconds - other.seconds - zones * 60.0

    def nearest_to(self, anchor: DicomTime | None) -> DicomTime:
        """A time without date, put on the day that brings it within half a day of the anchor."""
        if self.day is not None or anchor is None:
            return self
        apart = DicomTime(None, self.seconds).seconds_since(DicomTime(None, anchor.seconds))
        days = -1 if apart > HALF_DAY_S else 1 if apart < -HALF_DAY_S else 0
        if anchor.day is None:
            return replace(self, seconds=self.seconds + days * DAY_S)
        return replace(self, day=anchor.day + days)

    def shifted(self, seconds: float) -> DicomTime:
        """The time some seconds later, across midnight where a date is known."""
        total = self.seconds + seconds
        if self.day is None:
            return replace(self, seconds=total)
        days, rest = divmod(total, DAY_S)
        return replace(self, day=self.day + int(days), seconds=rest)

    def in_zone(self, timezone: str) -> DicomTime:
        """The time on the clock of a time zone (`+0100`); unchanged where either offset is unknown."""
        zone = _offset(timezone.strip())
        if self.offset_min is None or zone is None:
            return self
        return replace(self, offset_min=None).shifted((zone - self.offset_min) * 60.0)

    def text(self) -> str:
        """The time as people write it."""
        days, seconds = divmod(self.seconds, DAY_S)
        time_of_day = datetime.timedelta(seconds=round(seconds, 6))
        clock = str(time_of_day).zfill(8 if "." not in str(time_of_day) else 15)
        if self.day is None:
            return clock
        return f"{datetime.date.fromordinal(self.day + int(days)).isoformat()} {clock}"


def parse_time(text: str) -> float | None:
    """Seconds since midnight of a TM value (PS3.5 6.2): HH, HHMM, HHMMSS or HHMMSS.F…, or None.

    The fraction is a decimal one: `.5` is half a second. The old form HH:MM:SS is read.
    """
    match = _TIME.match(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3))
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    fraction = float("0" + match.group(4)) if match.group(4) and len(match.group(4)) > 1 else 0.0
    return hours * 3600 + minutes * 60 + seconds + fraction


def parse_date(text: str) -> int | None:
    """Ordinal of a DA value, or None; years that stand for `unknown` (0001, 9999) are no dates."""
    match = _DATE.match(text.strip())
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups())
    if not _YEARS[0] <= year <= _YEARS[1]:
        return None
    try:
        return datetime.date(year, month, day).toordinal()
    except ValueError:
        return None


def parse_datetime(text: str) -> DicomTime | None:
    """Time of a DT value that has at least the hour, or None."""
    match = _DATETIME.match(text.strip())
    if match is None:
        return None
    day, seconds = parse_date(match.group(1)), parse_time(match.group(2))
    if day is None or seconds is None:
        return None
    return DicomTime(day, seconds, _offset(match.group(3) or ""))


def parse_local_datetime(text: str, timezone: str) -> DicomTime | None:
    """Time of a DT value on the clock that the file's other times are written in.

    An offset in the value is taken off where (0008,0201) Timezone Offset From UTC names
    the other times' zone; without it the time keeps the offset, and whoever uses it must
    relate the two clocks.
    """
    time = parse_datetime(text)
    return None if time is None else time.in_zone(timezone)


def parse_date_and_time(date: str, time: str, utc_offset: str = "") -> DicomTime | None:
    """Time of a DA and a TM value; None without a readable time, without day where the date is not."""
    seconds = parse_time(time)
    return None if seconds is None else DicomTime(parse_date(date), seconds, _offset(utc_offset))


def _offset(text: str) -> int | None:
    if not re.fullmatch(r"[+-]\d{4}", text):
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return -minutes if text[0] == "-" else minutes


@dataclass(frozen=True)
class PetSlice:
    """Times of one slice (or frame) as written.

    Attributes:
        acquisition_date: (0008,0022), DA.
        acquisition_time: (0008,0032), TM.
        frame_reference_ms: (0054,1300) Frame Reference Time.
        frame_duration_ms: (0018,1242) Actual Frame Duration.
        decay_factor: (0054,1321) Decay Factor.
        utc_offset: UTC offset of the acquisition, where its DT value has one (`+0100`).
    """

    acquisition_date: str = ""
    acquisition_time: str = ""
    frame_reference_ms: float | None = None
    frame_duration_ms: float | None = None
    decay_factor: float | None = None
    utc_offset: str = ""

    def acquired(self, timezone: str) -> DicomTime | None:
        """The acquisition on the clock of a time zone; without day where no date is written."""
        time = parse_date_and_time(self.acquisition_date, self.acquisition_time, self.utc_offset)
        return None if time is None else time.in_zone(timezone)


def read_slice(dataset: Dataset) -> PetSlice:
    """Times of a classic PET image (PS3.3 C.8.9.4)."""
    datetime_text = one_text_of(dataset, "AcquisitionDateTime")
    written = one_text_of(dataset, "AcquisitionTime")
    return PetSlice(
        acquisition_date=one_text_of(dataset, "AcquisitionDate") or datetime_text[:8],
        acquisition_time=written or _time_of_day(datetime_text),
        frame_reference_ms=number_of(dataset, "FrameReferenceTime"),
        frame_duration_ms=number_of(dataset, "ActualFrameDuration"),
        decay_factor=number_of(dataset, "DecayFactor"),
        utc_offset="" if written else _zone(datetime_text),
    )


def read_frame(group: Dataset, shared: list[Dataset]) -> PetSlice:
    """Times of one frame of an enhanced or legacy converted PET (PS3.3 C.8.22)."""
    for converted in items_of(group, CONVERTED_FRAME):
        if text_of(converted, "AcquisitionTime"):
            return read_slice(converted)
    content = functional_group(group, shared, "FrameContentSequence")
    factors = functional_group(group, shared, "PETFrameCorrectionFactorsSequence")
    datetime_text = text_of(content, "FrameAcquisitionDateTime")
    return PetSlice(
        acquisition_date=datetime_text[:8],
        acquisition_time=_time_of_day(datetime_text),
        frame_duration_ms=number_of(content, "FrameAcquisitionDuration"),
        decay_factor=number_of(factors, "DecayFactor"),
        utc_offset=_zone(datetime_text),
    )


def _time_of_day(datetime_text: str) -> str:
    """Time of day of a DT value, without its zone."""
    return datetime_text[8:].split("+")[0].split("-")[0]


def _zone(datetime_text: str) -> str:
    """Offset from UTC of a DT value; empty where it has none."""
    return "".join(re.findall(r"[+-]\d{4}$", datetime_text))


@dataclass(frozen=True)
class FrameTimes:
    """Times of one slice (or frame) as read.

    Attributes:
        acquired: Acquisition date and time.
        reference_ms: (0054,1300) Frame Reference Time, counted from the scan's start.
        duration_ms: (0018,1242) Actual Frame Duration.
        decay_factor: (0054,1321) Decay Factor that the slice was multiplied by.
    """

    acquired: DicomTime | None
    reference_ms: float | None
    duration_ms: float | None
    decay_factor: float | None


@dataclass(frozen=True)
class PetTimes:
    """All times of one PET series, read once; None where the headers give none.

    Attributes:
        frames: By slice, in the order of the volume.
        series: (0008,0021)/(0008,0031) Series Date and Time; without a date, on the
            acquisitions' day.
        first_acquisition: The earliest acquisition of all slices, whatever their order.
        acquisitions_differ: Whether slices have several acquisition times, as written.
        injection: (0018,1078) Radiopharmaceutical Start DateTime.
        injection_clock_s: (0018,1072) Radiopharmaceutical Start Time, seconds since midnight.
        injection_written: The text of either, for messages.
        decay_correction: (0018,9701) Decay Correction DateTime (enhanced PET).
        siemens_decay_correction: Siemens' private (0071,xx22).
        ge_scan: GE's private (0009,xx0D) scan date and time.
        counts_to_frame_start: Whether the manufacturer (GE) counts (0054,1300) to the frame's
            start instead of its average count rate.
    """

    frames: tuple[FrameTimes, ...]
    series: DicomTime | None
    first_acquisition: DicomTime | None
    acquisitions_differ: bool
    injection: DicomTime | None
    injection_clock_s: float | None
    injection_written: str
    decay_correction: DicomTime | None
    siemens_decay_correction: DicomTime | None
    ge_scan: DicomTime | None
    counts_to_frame_start: bool


def on_the_acquisitions_day(
    series: DicomTime | None, acquired: Sequence[DicomTime | None]
) -> DicomTime | None:
    """The series time; without a date, on the day that brings it nearest to the first dated acquisition."""
    if series is None or series.day is not None:
        return series
    dated = [time for time in acquired if time and time.day is not None]
    return series.nearest_to(min(dated, key=lambda time: (time.day or 0, time.seconds), default=None))


def on_the_series_day(
    acquired: DicomTime | None, series: DicomTime | None, series_date: str
) -> DicomTime | None:
    """An acquisition; without a date, on the day that brings it nearest to the series time.

    That day is the one before, of or after the series date: a scan that runs past midnight has
    acquisitions at small hours. Without a series time the series date is taken.
    """
    if acquired is None or acquired.day is not None:
        return acquired
    return acquired.nearest_to(series) if series else replace(acquired, day=parse_date(series_date))


def past_midnight(acquired: Sequence[DicomTime | None], dated: Sequence[bool]) -> list[DicomTime | None]:
    """Acquisitions of which no date and no series time tells the day: small hours beside an evening are the day after.

    Args:
        acquired: The acquisitions.
        dated: Which of them have a date of their own, and stay.
    """
    loose = [time for time, known in zip(acquired, dated, strict=True) if time is not None and not known]
    clocks = [time.seconds for time in loose]
    if not clocks or max(clocks) - min(clocks) <= HALF_DAY_S:
        return list(acquired)
    return [
        time.shifted(DAY_S) if time is not None and not known and time.seconds < HALF_DAY_S else time
        for time, known in zip(acquired, dated, strict=True)
    ]


def earliest(times: Sequence[DicomTime | None]) -> DicomTime | None:
    """The earliest of some times, whatever their order.

    Times without any date that lie more than half a day apart run past midnight: the small
    hours are the later ones.
    """
    known = [time for time in times if time is not None]
    if not known:
        return None
    least = min(known, key=lambda time: (time.day or 0, time.seconds))
    if any(time.day is not None for time in known):
        return least
    if max(time.seconds_since(least) for time in known) <= HALF_DAY_S:
        return least
    evening = [time for time in known if time.seconds > HALF_DAY_S]
    return min(evening, key=lambda time: time.seconds, default=least)
