"""Dates and times of PET headers: parsed once, compared as seconds."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace

from pipeline.dicom.header.pet_header import PetHeader, PetSlice
from pipeline.dicom.pet.radionuclide import average_time

DAY_S = 86400.0
_TIME = re.compile(r"^(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d*)?)?)?$")
_GE = re.compile(r"GE(MS)?\b|general electric", re.IGNORECASE)
_DATE = re.compile(r"^(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})$")
_DATETIME = re.compile(r"^(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d*)?)?)?)([+-]\d{4})?$")


@dataclass(frozen=True)
class DicomTime:
    """A clock reading.

    Attributes:
        day: Proleptic ordinal of the date; None where the file gives none.
        seconds: Since midnight, fractions kept.
        offset_min: Minutes east of UTC where the value says so.
    """

    day: int | None
    seconds: float
    offset_min: int | None = None

    def after(self, other: DicomTime) -> float:
        """Seconds from another moment to this one; by the clock alone if a date is missing.

        Offsets from UTC count where both moments have one.
        """
        days = 0 if self.day is None or other.day is None else self.day - other.day
        zones = (
            0 if self.offset_min is None or other.offset_min is None else self.offset_min - other.offset_min
        )
        return days * DAY_S + self.seconds - other.seconds - zones * 60.0

    def near(self, anchor: DicomTime | None) -> DicomTime:
        """A moment without date on the day that brings it within half a day of another one."""
        if self.day is not None or anchor is None:
            return self
        apart = DicomTime(None, self.seconds).after(DicomTime(None, anchor.seconds))
        days = -1 if apart > DAY_S / 2 else 1 if apart < -DAY_S / 2 else 0
        if anchor.day is None:
            return replace(self, seconds=self.seconds + days * DAY_S)
        return replace(self, day=anchor.day + days)

    def shifted(self, seconds: float) -> DicomTime:
        """A moment later by some seconds, across midnight where a date is known."""
        total = self.seconds + seconds
        if self.day is None:
            return replace(self, seconds=total)
        days, rest = divmod(total, DAY_S)
        return replace(self, day=self.day + int(days), seconds=rest)

    def text(self) -> str:
        """The moment as people write it."""
        day, seconds = self.day, self.seconds
        days, seconds = divmod(seconds, DAY_S)
        whole = datetime.timedelta(seconds=round(seconds, 6))
        clock = str(whole).zfill(8 if "." not in str(whole) else 15)
        if day is None:
            return clock
        return f"{datetime.date.fromordinal(day + int(days)).isoformat()} {clock}"


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
    """Ordinal of a DA value, or None."""
    match = _DATE.match(text.strip())
    if match is None:
        return None
    try:
        return datetime.date(*(int(part) for part in match.groups())).toordinal()
    except ValueError:
        return None


def parse_datetime(text: str) -> DicomTime | None:
    """Moment of a DT value with at least the hour, or None."""
    match = _DATETIME.match(text.strip())
    if match is None:
        return None
    day, seconds = parse_date(match.group(1)), parse_time(match.group(2))
    if day is None or seconds is None:
        return None
    return DicomTime(day, seconds, _offset(match.group(3) or ""))


def _offset(text: str) -> int | None:
    if not re.fullmatch(r"[+-]\d{4}", text):
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return -minutes if text[0] == "-" else minutes


def local_moment(text: str, timezone: str) -> DicomTime | None:
    """Moment of a DT value on the clock that the file's other times are written in.

    An offset in the value is taken off where (0008,0201) Timezone Offset From UTC names
    the other times' zone; without it the moment keeps the offset, and others must say which
    clock they were read from.
    """
    moment = parse_datetime(text)
    return None if moment is None else _in_zone(moment, timezone)


def _in_zone(moment: DicomTime, timezone: str) -> DicomTime:
    zone = _offset(timezone.strip())
    if moment.offset_min is None or zone is None:
        return moment
    return replace(moment, offset_min=None).shifted((zone - moment.offset_min) * 60.0)


def series_moment(header: PetHeader) -> DicomTime | None:
    """(0008,0021)/(0008,0031) Series Date and Time; without a date, the acquisitions' day."""
    series = _series_as_written(header)
    if series is None or series.day is not None:
        return series
    dated = [m for m in (_slice_as_written(s, header) for s in header.slices) if m and m.day is not None]
    return series.near(min(dated, key=lambda m: (m.day or 0, m.seconds), default=None))


def _series_as_written(header: PetHeader) -> DicomTime | None:
    seconds = parse_time(header.series_time)
    return None if seconds is None else DicomTime(parse_date(header.series_date), seconds)


def _slice_as_written(one: PetSlice, header: PetHeader) -> DicomTime | None:
    seconds = parse_time(one.acquisition_time)
    if seconds is None:
        return None
    moment = DicomTime(parse_date(one.acquisition_date), seconds, _offset(one.utc_offset))
    return _in_zone(moment, header.timezone)


def slice_moment(one: PetSlice, header: PetHeader) -> DicomTime | None:
    """(0008,0022)/(0008,0032) Acquisition Date and Time of a slice.

    Without a date, the day (before, of or after the series date) that brings it nearest to
    the series time: a scan that runs past midnight has acquisitions at small hours.
    """
    moment = _slice_as_written(one, header)
    if moment is None or moment.day is not None:
        return moment
    series = _series_as_written(header)
    return moment.near(series) if series else replace(moment, day=parse_date(header.series_date))


def earliest_acquisition(header: PetHeader) -> DicomTime | None:
    """The earliest acquisition moment of all slices, whatever their order.

    Times without any date that lie more than half a day apart run past midnight: the small
    hours are the later ones.
    """
    moments = [m for m in (slice_moment(s, header) for s in header.slices) if m is not None]
    if not moments:
        return None
    least = min(moments, key=lambda m: (m.day or 0, m.seconds))
    if any(m.day is not None for m in moments) or max(m.after(least) for m in moments) <= DAY_S / 2:
        return least
    return min((m for m in moments if m.seconds > DAY_S / 2), key=lambda m: m.seconds)


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


def back_computed_start(header: PetHeader, half_life_s: float) -> BackComputed | None:
    """Scan start = acquisition time − frame reference time + average time within the frame.

    QIBA's robust way for series whose own time was altered. (0054,1300) Frame Reference
    Time is the offset from the scan's start to the frame's average count rate. GE counts it
    to the frame's start instead (seen: 0 in the first bed, multiples of the bed interval
    after it), and so does any file where it is shorter than the average time.
    None where no slice has all three values.
    """
    found: list[tuple[DicomTime, float, float]] = []
    for one in header.slices:
        moment = slice_moment(one, header)
        if moment is not None and one.frame_reference_ms is not None and one.frame_duration_ms:
            average = average_time(one.frame_duration_ms / 1000.0, half_life_s)
            found.append((moment, one.frame_reference_ms / 1000.0, average))
    if not found or all(reference <= 0 for _, reference, _ in found):
        return None
    plain = bool(_GE.match(header.manufacturer)) or any(r < a - 1.0 for _, r, a in found)
    base = found[0][0]
    starts = sorted(m.after(base) - r + (0.0 if plain else a) for m, r, a in found)
    return BackComputed(base.shifted(starts[len(starts) // 2]), starts[-1] - starts[0], plain)
