"""The time that values refer to: series time, acquisitions, midnight, and what is refused.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

from __future__ import annotations

import pytest

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.errors import SuvError
from tests.dicom.pet.suv_cases import clock, factors_of, frames, slices

FACTORS = [
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("start, one hour", {}, {}, 0.000292127349244366),
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
    # 70000 / 350e6 * 2 ** (3600.250001 / 6586.2)
    ("microseconds in the series time", dict(**clock("20200310", "100000.250001")), {}, 0.000292135035418573),
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
    # 70000 / 350e6
    (
        "values that refer to the injection by their own decay correction time",
        {"decay_datetime": "20200310090000"},
        {},
        0.0002,
    ),
]

REFUSED = [
    ("no times of the scan", {"series_time": "", "slices": (PetSlice(),)}, {}, "acquisition time"),
    (
        "late series time and frames that disagree",
        {"series_time": "120000", "slices": frames(("100000", 60000, 120000), ("100300", 60000, 120000))},
        {},
        "not clear",
    ),
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
