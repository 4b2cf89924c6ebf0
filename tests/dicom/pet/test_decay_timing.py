"""SUV factors by the clock: start of the scan, injection, midnight, dates, time zones.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

import dataclasses

import pytest

from pipeline.dicom.header.pet_header import PetSlice
from pipeline.dicom.pet.factor import suv_factor
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE, clock, slices

ROWS = [
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("start, one hour", {}, {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "injection with its date",
        {"injection_time": "", "injection_datetime": "20200310090000"},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3599.75 / 6586.2)
    (
        "injection DT padded and fractional",
        {"injection_time": "", "injection_datetime": "20200310090000.250000 "},
        {},
        0.000292119663303127,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "midnight, dated",
        dict(**clock("20200310", "003000"), injection_time="233000", injection_datetime="20200309233000"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "midnight, injection without date",
        dict(**clock("20200310", "003000"), injection_time="233000"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3590 / 6586.2)
    (
        "midnight between series and acquisition",
        {
            "series_date": "20200310",
            "series_time": "235950",
            "slices": (PetSlice("20200311", "000010"),),
            "injection_time": "230000",
        },
        {},
        0.000291820069273076,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "midnight of a leap day",
        dict(**clock("20200301", "001500"), injection_time="", injection_datetime="20200229231500"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (4199.5 / 6586.2)
    (
        "midnight of a new year",
        dict(**clock("20200101", "001000"), injection_time="", injection_datetime="20191231230000.5"),
        {},
        0.000311152337963658,
    ),
    # 70000 / 350e6 * 2 ** (3599.5 / 6586.2)
    ("half a second is .5", {"injection_time": "090000.5"}, {}, 0.000292111977564108),
    # 70000 / 350e6 * 2 ** (3600.250001 / 6586.2)
    ("microseconds in the series time", dict(**clock("20200310", "100000.250001")), {}, 0.000292135035418573),
    # 70000 / 350e6 * 2 ** (2700 / 6586.2)
    (
        "times of hours and minutes",
        dict(**clock("20200310", "1000"), injection_time="0915"),
        {},
        0.000265727598344427,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("times of hours", dict(**clock("20200310", "10"), injection_time="09"), {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3570 / 6586.2)
    ("old times with colons", {"injection_time": "09:00:30"}, {}, 0.000291206478646189),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("old date with dots", {"series_date": "2020.03.10"}, {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "first slice acquired last: series time holds",
        {"slices": slices("101500", "100000", "100500")},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3720 / 6586.2)
    (
        "series time too late: earliest of unsorted acquisitions",
        {"series_time": "110000", "slices": slices("101000", "100200", "100600")},
        {},
        0.000295840044191341,
    ),
    # 70000 / 350e6 * 2 ** (3720 / 6586.2)
    (
        "no series time: earliest acquisition",
        {"series_time": "", "slices": slices("101000", "100200")},
        {},
        0.000295840044191341,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("no acquisition time: series time", {"slices": (PetSlice(),)}, {}, 0.000292127349244366),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "time zone in the injection's DT",
        {"injection_time": "", "injection_datetime": "20200310080000+0000", "timezone": "+0100"},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "time zone across midnight",
        dict(
            **clock("20200310", "003000"),
            injection_time="",
            injection_datetime="20200309223000+0000",
            timezone="+0100",
        ),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "dates shifted, times of day allowed",
        {"injection_datetime": "20200317090000", "injection_time": "090000"},
        {"date_shift": "use_times"},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (2700 / 6586.2)
    (
        "dates shifted, times of day across midnight",
        dict(**clock("20200310", "001500"), injection_datetime="20210317233000", injection_time="233000"),
        {"date_shift": "use_times"},
        0.000265727598344427,
    ),
    # 70000 / 350e6 * 2 ** (3480 / 6586.2)
    (
        "acquisitions without dates run past midnight",
        {
            "series_date": "20200310",
            "series_time": "235800",
            "slices": (PetSlice("", "235800"), PetSlice("", "000100"), PetSlice("", "000400")),
            "injection_time": "230000",
        },
        {},
        0.000288461247394032,
    ),
    # 70000 / 350e6 * 2 ** (3480 / 6586.2)
    (
        "no date anywhere, past midnight, no series time",
        {
            "series_date": "",
            "series_time": "",
            "slices": (PetSlice("", "000100"), PetSlice("", "235800")),
            "injection_time": "230000",
        },
        {},
        0.000288461247394032,
    ),
    # 70000 / 350e6 * 2 ** (3480 / 6586.2)
    (
        "series time without date before midnight, acquisitions dated after it",
        {
            "series_date": "",
            "series_time": "235800",
            "slices": (PetSlice("20200311", "000100"),),
            "injection_time": "230000",
        },
        {},
        0.000288461247394032,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "injection and scan after midnight",
        dict(**clock("20200310", "011000"), injection_time="001000"),
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "injection before midnight dated to the scan's day, times of day allowed",
        dict(**clock("20200310", "003000"), injection_datetime="20200310233000", injection_time="233000"),
        {"date_shift": "use_times"},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "time zone west of Greenwich",
        {
            "injection_time": "",
            "injection_datetime": "20200310140000+0000",
            "timezone": "-0500",
            **clock("20200310", "100000"),
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "zone of the injection unrelated, but its time of day stands beside it",
        {"injection_time": "090000", "injection_datetime": "20200310090000+0100"},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2): no scan starts half a day before its first slice
    (
        "series time of a day that was left alone: earliest acquisition",
        {"series_date": "20170310", "series_time": "120000", "slices": slices("100300", "100000")},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "series of another year, injection dated as the acquisitions",
        {"series_date": "20170310", "injection_time": "", "injection_datetime": "20200310090000"},
        {},
        0.000292127349244366,
    ),
]


@pytest.mark.parametrize(("header", "settings", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_factor(header, settings, expected):
    result = suv_factor(dataclasses.replace(BASE, **header), SuvSettings(**settings))
    assert result.factors == (pytest.approx(expected, rel=1e-9),)
