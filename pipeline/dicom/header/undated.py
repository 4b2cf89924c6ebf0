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


def undated(header: PetHeader) -> PetHeader:
    """A header whose earliest date is 1 January 2000; days between its dates, and times of day, stay.

    Everything that is computed from the header is the same: only differences of dates count.
    """
    written = {entry.acquisition_date for entry in header.slices} | {header.series_date}
    written |= {
        text[:8]
        for text in (
            header.injection_datetime,
            header.decay_datetime,
            header.siemens_decay_datetime,
            header.ge_scan_datetime,
        )
    }
    days = [day for day in map(parse_date, written) if day is not None]
    shift = FIRST_DAY.toordinal() - min(days) if days else 0
    return replace(
        header,
        series_date=_moved(header.series_date, shift),
        slices=tuple(_moved_slice(entry, shift) for entry in header.slices),
        injection_datetime=_moved(header.injection_datetime, shift, 8),
        decay_datetime=_moved(header.decay_datetime, shift, 8),
        siemens_decay_datetime=_moved(header.siemens_decay_datetime, shift, 8),
        ge_scan_datetime=_moved(header.ge_scan_datetime, shift, 8),
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
