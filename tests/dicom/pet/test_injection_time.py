"""The time of injection: dates, midnight, time zones, and what is refused.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

from __future__ import annotations

import pytest

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.errors import SuvError
from tests.dicom.pet.suv_cases import audit_of, clock, factors_of, frames, slices


def nuclide(name, half_life_s):
    return {"radionuclide": (name,), "half_life_s": half_life_s}


FACTORS = [
    # 70000 / 350e6 * 2 ** (90000 / 45725): 25 h before the scan
    (
        "Cu-64 of the day before, dated",
        {
            **nuclide("C-127A2", 45725.0),
            "injection_time": "",
            "injection_datetime": "20200309090000",
        },
        {"max_uptake_minutes": 2000},
        0.000782607362316,
    ),
    # 70000 / 350e6 * 2 ** (7200 / 6586.2): 09:00 in UTC is 10:00 in +0100
    (
        "scan in UTC, the file's zone known",
        {
            "series_time": "",
            "slices": (PetSlice("20200310", "090000", None, None, None, "+0000"),),
            "timezone": "+0100",
            "injection_time": "080000",
        },
        {},
        0.000426691940883,
    ),
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
]

UTC_SCAN = {"series_time": "", "slices": (PetSlice("20200310", "090000", None, None, None, "+0000"),)}
REFUSED = [
    ("scan in UTC, injection by the clock", {**UTC_SCAN, "injection_time": "080000"}, {}, "time zone"),
    (
        "scan in UTC, injection without offset",
        {**UTC_SCAN, "injection_time": "080000", "injection_datetime": "20200310080000"},
        {},
        r"time zone.*0008,0201",
    ),
    (
        "enhanced: decay correction time in UTC, injection by the clock",
        {"decay_datetime": "20200310090000+0000", "series_time": "", "injection_time": "080000"},
        {},
        "time zone",
    ),
    ("Cu-64 by its time of day", nuclide("C-127A2", 45725.0), {}, "a day later"),
    ("Y-86 by its time of day", nuclide("Yttrium-86", 53064.0), {}, "a day later"),
    ("Br-76 by its time of day", nuclide("Bromine-76", 58320.0), {}, "a day later"),
    (
        "injection in UTC, scan's zone unknown",
        {"injection_time": "", "injection_datetime": "20200310090000+0000"},
        {},
        "time zone",
    ),
    (
        "injection before midnight dated to the scan's day",
        dict(**clock("20200310", "003000"), injection_datetime="20200310233000", injection_time="233000"),
        {},
        "after the scan.*use_times",
    ),
    ("no injection time", {"injection_time": ""}, {}, "injection time"),
    ("injection time that is none", {"injection_time": "256000"}, {}, "injection time"),
    ("injection five minutes after the scan", {"injection_time": "100500"}, {}, "after the scan"),
    (
        "dated injection after the scan",
        {"injection_datetime": "20200310101000", "injection_time": ""},
        {},
        "after",
    ),
    ("injection six hours before", {"injection_time": "040000"}, {}, "too long before"),
    (
        "injection on another day",
        {"injection_datetime": "20200311090000"},
        {},
        "use_times",
    ),
    (
        "five hours apart on the same day: no shift of dates",
        {"injection_datetime": "20200310050000", "injection_time": ""},
        {"date_shift": "use_times"},
        "too long before",
    ),
    ("two injection times", {"injection_datetime": "20200310083000"}, {}, "contradict"),
]


@pytest.mark.parametrize(
    ("header", "settings", "expected"), [row[1:] for row in FACTORS], ids=[row[0] for row in FACTORS]
)
def test_factor(header, settings, expected):
    assert factors_of(header, settings) == (pytest.approx(expected, rel=1e-9),)


@pytest.mark.parametrize(
    ("header", "settings", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(header, settings, words):
    with pytest.raises(SuvError, match=words):
        factors_of(header, settings)


def test_an_injection_on_the_day_before_is_assumed_and_said():
    audit = audit_of(**clock("20200310", "003000"), injection_time="233000")
    assert any("day before" in assumption for assumption in audit.assumptions)


@pytest.mark.parametrize(
    ("header", "element"),
    [
        ({"series_time": "000000", "slices": slices("000000")}, r"\(0008,0031\) Series Time of the scan"),
        (
            {"series_time": "120000", "slices": slices("000000")},
            r"\(0008,0032\) Acquisition Time of the scan",
        ),
        ({"ge_scan_datetime": "20200310000000", "slices": slices("000000")}, r"GE private \(0009,xx0D\)"),
        (
            {
                "decay_correction": "NONE",
                "corrected_image": ("ATTN",),
                "slices": frames(("000000", None, 12e4)),
            },
            "0032",
        ),
    ],
    ids=["series", "acquisition", "private", "not corrected"],
)
def test_a_scan_before_its_injection_is_named_by_the_element_of_its_time(header, element):
    with pytest.raises(SuvError, match=f"lies after the scan.*{element}"):
        factors_of(header, {})


def test_times_of_day_that_were_all_blanked_are_no_evidence():
    """An uptake of 0 min gave a SUVmax of 5.48 where 8 was right."""
    with pytest.raises(SuvError, match="blanked.*000000 in both"):
        factors_of({**clock("20200310", "000000"), "injection_time": "000000"}, {})
