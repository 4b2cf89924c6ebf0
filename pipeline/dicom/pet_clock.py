"""Dates and times of PET headers: parsed once, compared as seconds."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace

from pipeline.dicom.decay import average_time
from pipeline.dicom.pet_header import PetHeader, PetSlice

DAY_S = 86400.0
_TIME = re.compile(r"^(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d*)?)?)?$")
_DATE = re.compile(r"^(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})$")
_DATETIME = re.compile(r"^(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d*)?)?)?)([+-]\d{4})?$")


@dataclass(frozen=True)
class Moment:
    """A clock reading.

    Attributes:
        day: Proleptic ordinal of the date; None where the file gives none.
        seconds: Since midnight, fractions kept.
        offset_min: Minutes east of UTC where the value says so.
    """

    day: int | None
    seconds: float
    offset_min: int | None = None

    def after(self, other: Moment) -> float:
        """Seconds from another moment to this one; by the clock alone if a date is missing."""
        days = 0 if self.day is None or other.day is None else self.day - other.day
        return days * DAY_S + self.seconds - other.seconds

    def shifted(self, seconds: float) -> Moment:
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


def parse_datetime(text: str) -> Moment | None:
    """Moment of a DT value with at least the hour, or None."""
    match = _DATETIME.match(text.strip())
    if match is None:
        return None
    day, seconds = parse_date(match.group(1)), parse_time(match.group(2))
    if day is None or seconds is None:
        return None
    return Moment(day, seconds, _offset(match.group(3) or ""))


def _offset(text: str) -> int | None:
    if not re.fullmatch(r"[+-]\d{4}", text):
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    return -minutes if text[0] == "-" else minutes


def local_moment(text: str, timezone: str) -> Moment | None:
    """Moment of a DT value on the clock that the file's other times are written in.

    An offset in the value is taken off where (0008,0201) Timezone Offset From UTC names
    the other times' zone; without it the reading is taken as it stands.
    """
    moment = parse_datetime(text)
    zone = _offset(timezone.strip())
    if moment is None or moment.offset_min is None or zone is None:
        return moment
    return replace(moment, offset_min=None).shifted((zone - moment.offset_min) * 60.0)


def series_moment(header: PetHeader) -> Moment | None:
    """(0008,0021)/(0008,0031) Series Date and Time."""
    seconds = parse_time(header.series_time)
    return None if seconds is None else Moment(parse_date(header.series_date), seconds)


def slice_moment(one: PetSlice, header: PetHeader) -> Moment | None:
    """(0008,0022)/(0008,0032) Acquisition Date and Time; the series date where it has no date."""
    seconds = parse_time(one.acquisition_time)
    if seconds is None:
        return None
    day = parse_date(one.acquisition_date)
    return Moment(parse_date(header.series_date) if day is None else day, seconds)


def earliest_acquisition(header: PetHeader) -> Moment | None:
    """The earliest acquisition moment of all slices, whatever their order."""
    moments = [m for m in (slice_moment(s, header) for s in header.slices) if m is not None]
    return min(moments, key=lambda m: (m.day or 0, m.seconds)) if moments else None


@dataclass(frozen=True)
class BackComputed:
    """Scan starts computed back from the slices' frames.

    Attributes:
        start: Their median.
        spread_s: Largest less smallest.
        from_frame_start: (0054,1300) counts to the frame's start, not to its average.
    """

    start: Moment
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
    found: list[tuple[Moment, float, float]] = []
    for one in header.slices:
        moment = slice_moment(one, header)
        if moment is not None and one.frame_reference_ms is not None and one.frame_duration_ms:
            average = average_time(one.frame_duration_ms / 1000.0, half_life_s)
            found.append((moment, one.frame_reference_ms / 1000.0, average))
    if not found or all(reference <= 0 for _, reference, _ in found):
        return None
    plain = header.manufacturer.upper().startswith("GE") or any(r < a - 1.0 for _, r, a in found)
    base = found[0][0]
    starts = sorted(m.after(base) - r + (0.0 if plain else a) for m, r, a in found)
    return BackComputed(base.shifted(starts[len(starts) // 2]), starts[-1] - starts[0], plain)
