"""Times of a PET header moved: they tell how long lies between them, and no day or hour of the patient's life.

An SUV needs how long after the injection a scan began, and nothing else of its dates and times of day.
The scan moves to noon, so that times without a date that ran past midnight no longer do.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace

from pipeline.dicom.header.dicom_time import DAY_S, PetSlice, parse_date, parse_datetime, parse_time
from pipeline.dicom.header.pet_header import PetHeader

FIRST_DAY = datetime.date(2000, 1, 1)
"""The day that a header's earliest date is moved to."""
NOON_S = 43_200
"""The time of day, in seconds after midnight, that the scan is moved to."""
UNREADABLE = "unreadable"
"""What takes the place of a text that is no date or time: it may hold one in another form."""
_FRACTION = re.compile(r"\.\d*")
_ZONE = re.compile(r"[+-]\d{4}$")


def undated(header: PetHeader) -> PetHeader:
    """A header whose earliest date is 1 January 2000 and whose scan begins at noon; what lies between its times stays.

    Everything that is computed from the header is the same: only differences of times count. All
    clock readings move by one whole number of seconds, dates by one number of days beside.
    """
    move = _Move(0, _seconds_to_noon(header))
    days = [day for day in map(parse_date, _dates(_moved(header, move))) if day is not None]
    return _moved(header, replace(move, days=FIRST_DAY.toordinal() - min(days) if days else 0))


def _seconds_to_noon(header: PetHeader) -> int:
    """Seconds by which the series time, or else the first readable time of day, is moved."""
    clocks = [header.series_time, *(entry.acquisition_time for entry in header.slices), header.injection_time]
    clocks += [text[8:] for text in (header.injection_datetime, header.decay_datetime)]
    seconds = next((known for known in map(parse_time, clocks) if known is not None), None)
    return 0 if seconds is None else NOON_S - int(seconds)


def _dates(header: PetHeader) -> set[str]:
    datetimes = (
        header.injection_datetime,
        header.decay_datetime,
        header.siemens_decay_datetime,
        header.ge_scan_datetime,
    )
    dates = (entry.acquisition_date for entry in header.slices)
    return {header.series_date, *dates, *(text[:8] for text in datetimes)}


def _moved(header: PetHeader, move: _Move) -> PetHeader:
    series = move.pair(header.series_date, header.series_time)
    return replace(
        header,
        series_date=series.date,
        series_time=series.time,
        slices=tuple(_moved_slice(entry, move) for entry in header.slices),
        injection_time=move.pair("", header.injection_time).time,
        injection_datetime=move.datetime(header.injection_datetime),
        decay_datetime=move.datetime(header.decay_datetime),
        siemens_decay_datetime=move.datetime(header.siemens_decay_datetime),
        ge_scan_datetime=move.datetime(header.ge_scan_datetime),
    )


def _moved_slice(entry: PetSlice, move: _Move) -> PetSlice:
    acquired = move.pair(entry.acquisition_date, entry.acquisition_time)
    return replace(entry, acquisition_date=acquired.date, acquisition_time=acquired.time)


@dataclass(frozen=True)
class _Written:
    """A date and a time of day as texts; empty where the header has none."""

    date: str
    time: str


@dataclass(frozen=True)
class _Move:
    """By how much times move: seconds on the clock, and days beside."""

    days: int
    seconds: int

    def pair(self, date: str, time: str) -> _Written:
        """A date and the time of day that belongs to it; a time without date stays within its day."""
        seconds = parse_time(time)
        if seconds is None:
            return _Written(self._date(date, 0), UNREADABLE if time else "")
        days, rest = divmod(int(seconds) + self.seconds, int(DAY_S))
        return _Written(self._date(date, days), _clock(rest) + "".join(_FRACTION.findall(time)))

    def datetime(self, text: str) -> str:
        """A date and time in one text (DT); its offset from UTC stays."""
        if not text:
            return ""
        zone = _ZONE.search(text)
        if parse_datetime(text) is None:
            return self._date(text[:8], 0) if len(text) == 8 else UNREADABLE
        clock = text[8 : zone.start()] if zone else text[8:]
        moved = self.pair(text[:8], clock)
        return UNREADABLE if moved.date == UNREADABLE else moved.date + moved.time + (zone[0] if zone else "")

    def _date(self, text: str, more_days: int) -> str:
        """A date some days later."""
        day = parse_date(text) if text else None
        if day is None:
            return UNREADABLE if text else ""
        try:
            return datetime.date.fromordinal(day + self.days + more_days).strftime("%Y%m%d")
        except (ValueError, OverflowError):
            return UNREADABLE


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
