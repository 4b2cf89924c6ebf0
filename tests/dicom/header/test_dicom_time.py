"""Dates and times of DICOM headers as text, and the times of a whole series."""

import pytest

from pipeline.dicom.header.dicom_time import (
    DicomTime,
    earliest,
    parse_date,
    parse_datetime,
    parse_local_datetime,
    parse_time,
)
from pipeline.dicom.header.pet_header import PetHeader, PetSlice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("101530", 36930.0),
        ("101530.5", 36930.5),  # half a second, not 5 µs
        ("101530.000005", 36930.000005),
        ("101530.", 36930.0),
        ("1015", 36900.0),
        ("10", 36000.0),
        ("10:15:30.25", 36930.25),
        ("235960", 86400.0),  # a leap second
        ("", None),
        ("24", None),
        ("106000", None),
        ("101561", None),
        ("abc", None),
        ("1015305", None),
    ],
)
def test_times(text, expected):
    assert parse_time(text) == (None if expected is None else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize(
    ("text", "valid"),
    [("20200229", True), ("20190229", False), ("2020.02.29", True), ("20201301", False), ("", False)],
)
def test_dates(text, valid):
    assert (parse_date(text) is not None) == valid


def test_datetimes_and_zones():
    day = parse_date("20200310")
    assert parse_datetime("20200310100000.25") == DicomTime(day, 36000.25)
    assert parse_datetime("202003101000+0130") == DicomTime(day, 36000.0, 90)
    assert parse_datetime("20200310") is None  # a date alone says no time of injection
    # 00:30 in +0100 is 23:30 UTC of the day before.
    assert parse_local_datetime("20200310003000+0100", "+0000") == DicomTime(day - 1, 84600.0)
    assert parse_local_datetime("20200310003000+0100", "") == DicomTime(day, 1800.0, 60)


DAY = parse_date("20200310")


def test_without_any_date_small_hours_are_the_later_ones():
    evening, night = DicomTime(None, 86000.0), DicomTime(None, 300.0)
    assert earliest([night, None, evening]) == evening
    assert earliest([DicomTime(DAY, 86000.0), DicomTime(DAY, 300.0)]) == DicomTime(DAY, 300.0)
    assert earliest([None]) is None


def test_without_any_date_times_already_put_beside_the_series_are_ordered():
    # A series at 00:33, acquisitions at 12:20 of the day before and 00:34.
    before, after = DicomTime(None, -42000.0), DicomTime(None, 2040.0)
    assert earliest([after, before]) == before


def test_all_times_of_a_series_are_read_once():
    header = PetHeader(
        slices=(PetSlice("20200310", "235900", 1000.0, 2000.0, 1.5), PetSlice("", "000100")),
        series_date="20200310",
        series_time="235800",
        timezone="+0100",
        manufacturer="GE MEDICAL SYSTEMS",
        injection_datetime="20200310220000+0000",
        injection_time="230000",
    )
    times = header.times
    assert times is header.times
    assert times.series == DicomTime(DAY, 86280.0)
    # The second slice has no date: it lies on the day that is nearest to the series time.
    assert [frame.acquired for frame in times.frames] == [DicomTime(DAY, 86340.0), DicomTime(DAY + 1, 60.0)]
    assert (times.frames[0].reference_ms, times.frames[0].duration_ms) == (1000.0, 2000.0)
    assert times.frames[0].decay_factor == 1.5 and times.acquisitions_differ
    assert times.first_acquisition == DicomTime(DAY, 86340.0)
    assert times.injection == DicomTime(DAY, 82800.0) and times.injection_clock_s == 82800.0
    assert times.counts_to_frame_start and times.ge_scan is None
