"""Dates of a PET header moved, so that they tell the days between its times and no day of the patient's life.

An SUV needs how long after the injection a scan began, and nothing else of its dates.
"""

from __future__ import annotations

import datetime
from dataclasses import replace

from pipeline.dicom.header.dicom_time import PetSlice, parse_date
from pipeline.dicom.header.pet_header import PetHeader

FIRST_DAY = datetime.date(2000, 1, 1)
"""The day that a header's earliest date is moved to."""
UNREADABLE = "unreadable"
"""What takes the place of a text that is no date: it may hold one in another form."""
_DATETIMES = ("injection_datetime", "decay_datetime", "siemens_decay_datetime", "ge_scan_datetime")


def undated(header: PetHeader) -> PetHeader:
    """A header whose earliest date is 1 January 2000; days between its dates, and times of day, stay.

    Everything that is computed from the header is the same: only differences of dates count.
    """
    written = {entry.acquisition_date for entry in header.slices} | {header.series_date}
    written |= {getattr(header, name)[:8] for name in _DATETIMES}
    days = [day for day in map(parse_date, written) if day is not None]
    if not days:
        return replace(header, **{name: _moved(getattr(header, name), 0, 8) for name in _DATETIMES})
    shift = FIRST_DAY.toordinal() - min(days)
    return replace(
        header,
        series_date=_moved(header.series_date, shift),
        slices=tuple(_moved_slice(entry, shift) for entry in header.slices),
        **{name: _moved(getattr(header, name), shift, 8) for name in _DATETIMES},
    )


def _moved_slice(entry: PetSlice, shift: int) -> PetSlice:
    return replace(entry, acquisition_date=_moved(entry.acquisition_date, shift))


def _moved(text: str, shift: int, length: int | None = None) -> str:
    """A date, or the date at the start of a date and time, some days later."""
    if not text:
        return ""
    day = parse_date(text[:length])
    try:
        moved = datetime.date.fromordinal((day or 0) + shift)
    except (ValueError, OverflowError):
        return UNREADABLE
    if day is None:
        return UNREADABLE
    return moved.strftime("%Y%m%d") + ("" if length is None else text[length:])
