"""Second opinions on the reference time: what is right must pass in silence, what is not must be told.

Every expected factor is a literal from the formula in the comment above it. Base header: see `suv_cases.py`
(injection 09:00, series and acquisition 10:00, F-18).
"""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE, factors_of, frames

# 70000 / 350e6 * 2 ** (3600 / 6586.2)
AT_TEN = 0.000292127349244366
HALF_LIFE = 6586.2
GE = "GE MEDICAL SYSTEMS"


def result_of(settings=None, **header):
    return suv_factor(dataclasses.replace(BASE, **header), SuvSettings(**(settings or {})))


def decayed(seconds):
    """(0054,1321) of a slice whose average count rate lies some seconds after the reference time."""
    return round(2 ** (seconds / HALF_LIFE), 6)


# Beds of 4 min each 243 s. The mean of 240 s of F-18 is reached after 119.75 s.
BEDS = range(4)
RIGHT = {
    # Raw GE: all beds share one acquisition time; (0054,1300) counts to each bed's start.
    "GE, one acquisition time": {
        "manufacturer": GE,
        "slices": frames(*[("100000", 243e3 * b, 240e3, decayed(243 * b + 119.75)) for b in BEDS]),
    },
    "GE, each bed's own acquisition time": {
        "manufacturer": GE,
        "slices": frames(("100000", 0, 240e3, decayed(119.75)), ("100403", 243e3, 240e3, decayed(362.75))),
    },
    "Philips, one acquisition time": {
        "manufacturer": "Philips Medical Systems",
        "slices": frames(*[("100000", 59.8e3 + 123e3 * b, 120e3, decayed(59.8 + 123 * b)) for b in BEDS]),
    },
    "Siemens, each bed's own": {
        "manufacturer": "SIEMENS",
        "slices": frames(
            *[(f"10{3 * b:02d}00", 59.94e3 + 180e3 * b, 120e3, decayed(59.94 + 180 * b)) for b in BEDS]
        ),
    },
    "a later bed only, supported by its frame": {"slices": frames(("102000", 1259.94e3, 120e3))},
    "clocks rounded to seconds": {"slices": frames(("100001", 59.94e3, 120e3))},
    "no frame says anything": {"slices": frames(("100000",))},
    "factors of 1": {"slices": frames(("100000", 59.94e3, 120e3, 1.0))},
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_headers_are_not_flagged(name):
    result = result_of(**RIGHT[name])
    assert result.factors == (pytest.approx(AT_TEN, rel=1e-9),)
    assert [flag for flag in result.audit.flags if "uptake" not in flag] == []


FLAGGED = {
    # 60 s are 0.63 % of F-18
    "series time a minute early": (
        {"series_time": "095900", "slices": frames(("100000", 59.94e3, 120e3))},
        "+0.6 %",
    ),
    "GE series time 4.5 min before the scan": (
        {
            "manufacturer": GE,
            "series_time": "095530",
            "slices": frames(("100000", 0, 120e3, decayed(59.94)), ("100300", 180e3, 120e3, decayed(239.94))),
        },
        "+2.9 %",
    ),
    # 30 s are 1.7 % of C-11
    "C-11, half a minute": (
        {
            "half_life_s": 1221.7,
            "radionuclide": ("C-105A1", "^11^Carbon"),
            "series_time": "095930",
            "slices": frames(("100000", 58.9e3, 120e3)),
        },
        "+1.7 %",
    ),
    "no frame says anything": (
        {"series_time": "095500", "slices": frames(("100000",))},
        "5 min after the series time",
    ),
    "GE private time a minute after the scan": (
        {"ge_scan_datetime": "20200310100100"},
        "60 s after the first acq",
    ),
    "Siemens private time apart from the series": (
        {"series_time": "095500", "siemens_decay_datetime": "20200310100000"},
        "5 min before Siemens private",
    ),
    "GE private time against the frames": (
        {"ge_scan_datetime": "20200310100000", "slices": frames(("100500", 59.94e3, 120e3))},
        "5 min later",
    ),
    # One later bed of a scan whose beds share one acquisition time, as crops hold it (Soft-tissue-Sarcoma
    # collection) - or a late frame, whose values would refer to 9:41:42: 2 ** (-1098 / 6586.2) = -10.9 %.
    "GE, one acquisition time, the last bed only": (
        {"manufacturer": GE, "slices": frames(("100000", 1098e3, 180e3, decayed(1098 + 89.86)))},
        "SUV is -10.9 %",
    ),
    # Beds from 10:00 to 10:12, and nothing else: 2 ** (-720 / 6586.2) = -7.3 % of the last one's SUV.
    "beds of which no frame says anything": (
        {"slices": frames(("100000",), ("100400",), ("100800",), ("101200",))},
        "nor (0054,1321) says that decay was corrected to one time: the last one's SUV may be -7.3 %",
    ),
    # GE's private time is the scan's, not the decay correction's.
    "the same beds beside GE's private time": (
        {
            "ge_scan_datetime": "20200310100000",
            "slices": frames(("100000",), ("100400",), ("100800",), ("101200",)),
        },
        "the last one's SUV may be -7.3 %",
    ),
    # The beds' (0054,1300) count from each bed, which the factors of the scan's start outvote.
    "beds counted from their own start, corrected to the scan's": (
        {"slices": frames(*[(f"10{4 * b:02d}00", 59.9e3, 120e3, decayed(59.9 + 240 * b)) for b in BEDS])},
        "(0054,1300) Frame Reference Time speaks for a reference time 12 min later: SUV +7.9 %",
    ),
}


@pytest.mark.parametrize("name", FLAGGED)
def test_times_apart_are_flagged(name):
    header, words = FLAGGED[name]
    assert words in " ".join(result_of(**header).audit.flags)


# GE's series time is when the technologist made the series: 12 min before the scan, 7.9 % of SUV.
EARLY = {
    "manufacturer": GE,
    "series_time": "094800",
    "slices": frames(("100000", 0, 120e3, decayed(59.94)), ("100300", 180e3, 120e3, decayed(239.94))),
}


def test_frames_that_contradict_by_more_than_the_limit_are_refused_and_a_setting_chooses():
    with pytest.raises(SuvError, match=r"suv\.reference_time: header or frames"):
        factors_of(EARLY, {})
    assert factors_of(EARLY, {"reference_time": "frames"}) == (pytest.approx(AT_TEN, rel=1e-6),)
    # 70000 / 350e6 * 2 ** (2880 / 6586.2)
    assert factors_of(EARLY, {"reference_time": "header"}) == (pytest.approx(0.000270809424021, rel=1e-9),)
    assert factors_of(EARLY, {"reference_time_percent": 10.0}) == (
        pytest.approx(0.000270809424021, rel=1e-9),
    )
    assert factors_of({**EARLY, "ge_scan_datetime": "20200310100000"}, {}) == (
        pytest.approx(AT_TEN, rel=1e-9),
    )


def test_admin_is_checked_against_the_decay_factors():
    admin = {"decay_correction": "ADMIN", "slices": frames(("100000", 59.94e3, 120e3, decayed(3659.94)))}
    result = result_of(**admin)
    # 70000 / 350e6
    assert result.factors == (0.0002,) and result.audit.flags == ()
    # Factors of a scan's start: values refer to 10:00, and 0.0002 would be 31 % low.
    start = {**admin, "slices": frames(("100000", 59.94e3, 120e3, decayed(59.94)))}
    with pytest.raises(SuvError, match="ADMIN"):
        factors_of(start, {})
    assert factors_of(start, {"reference_time": "frames"}) == (pytest.approx(AT_TEN, rel=1e-5),)
    assert "60 min later" in " ".join(result_of({"reference_time": "header"}, **start).audit.flags)


def test_all_evidence_stands_side_by_side():
    evidence = result_of(**{**EARLY, "ge_scan_datetime": "20200310100000"}).evidence
    minutes = {entry.element: entry.minutes for entry in evidence}
    assert minutes["(0008,0031) Series Time"] == 48.0
    assert minutes["(0008,0032) Acquisition Time, first"] == 60.0
    assert minutes["(0008,0032) Acquisition Time, last"] == 63.0
    assert minutes["(0054,1300) Frame Reference Time, computed back"] == 60.0
    assert minutes["(0054,1321) Decay Factor, computed back"] == pytest.approx(60.0, abs=0.02)
    assert [entry.element for entry in evidence if entry.chosen] == ["GE private (0009,xx0D)"]
    series = next(entry for entry in evidence if "Series" in entry.element)
    assert series.suv_percent == -7.3  # 2 ** (-720 / 6586.2) - 1


@pytest.mark.parametrize(
    ("header", "settings", "words"),
    [
        ({"injection_time": "110000", "injection_datetime": "20200307110000"}, {}, "max_uptake_minutes"),
        ({}, {}, "the day of the injection is not known"),
        ({"injection_datetime": "20200307090000"}, {"date_shift": "use_times"}, "the day of the injection"),
    ],
    ids=["three days, the limit is named", "a time of day only", "dates that contradict"],
)
def test_a_nuclide_of_days_needs_the_day_of_its_injection(header, settings, words):
    zirconium = {"radionuclide": ("C-168A4",), "half_life_s": 282280.0, "total_dose_bq": 37e6}
    with pytest.raises(SuvError, match=words):
        factors_of({**zirconium, **header}, settings)


def test_a_scan_days_later_is_right_where_the_limit_allows_it():
    header = {
        "radionuclide": ("C-168A4",), "half_life_s": 282280.0, "total_dose_bq": 37e6,
        "injection_time": "110000", "injection_datetime": "20200307110000",
    }  # fmt: skip
    # 70000 / 37e6 * 2 ** (71 * 3600 / 282280)
    assert factors_of(header, {"max_uptake_minutes": 10000.0}) == (pytest.approx(0.00354384024, rel=1e-6),)


LATE = frames(("100000", 3059.94e3, 120e3, decayed(3059.94)))
# Beds of which each was corrected to its own start, by (0054,1300) alone.
OWN_START = frames(*[(f"10{4 * b:02d}00", 59.94e3, 120e3) for b in range(6)])
REFUSED = {
    "a late frame of a dynamic scan: frame time and factor speak of 9:00": (
        {"slices": LATE},
        "50 min earlier",
    ),
    "its frame time alone": ({"slices": frames(("100000", 3059.94e3, 120e3))}, "50 min earlier"),
    "the same beside GE's private time": (
        {"ge_scan_datetime": "20200310100000", "slices": LATE},
        "50 min earlier",
    ),
    "GE private time an hour after the frames'": (
        {"ge_scan_datetime": "20200310110000", "slices": frames(("100000", 59.94e3, 120e3))},
        "60 min earlier",
    ),
    "Siemens private time an hour before series and acquisition": (
        {"siemens_decay_datetime": "20200310090500", "slices": frames(("100000",))},
        "55 min later",
    ),
    # (0018,9701) 40 min after acquisition and series: 2 ** (2400 / 6586.2) = +28.7 % of SUV.
    "decay correction time after all acquisitions": (
        {"decay_datetime": "20200310104000"},
        r"\(0018,9701\).*\(0008,0032\).*40 min earlier by the frames, -22.3 % of SUV",
    ),
    "decay correction time half an hour before them": (
        {"decay_datetime": "20200310093000"},
        "30 min later",
    ),
    "the same, the series time being the reconstruction's": (
        {"decay_datetime": "20200310093000", "series_time": "120000"},
        "30 min later",
    ),
    "decay correction and series time are the reconstruction's": (
        {"decay_datetime": "20200310120000", "series_time": "120000"},
        "120 min earlier",
    ),
    "Siemens private time an hour before the acquisition, no series time": (
        {"siemens_decay_datetime": "20200310090500", "series_time": "", "slices": frames(("100000",))},
        "55 min later",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_any_evidence_against_the_time_is_refused_above_the_limit_and_a_setting_chooses(name):
    header, words = REFUSED[name]
    with pytest.raises(SuvError, match=words):
        result_of(**header)
    for choice in ("header", "frames"):
        assert result_of({"reference_time": choice}, **header).audit.flags or choice == "frames"


# The dose decays to the decay correction's time in all of them: 70000 / 350e6 * 2 ** (seconds / 6586.2).
SUPPORTED = {
    "by the series time: a series of later beds": (
        {"decay_datetime": "20200310100000", "slices": frames(("102500",))},
        3600,
    ),
    "by the acquisition, the series time being the reconstruction's": (
        {"decay_datetime": "20200310100000", "series_time": "120000"},
        3600,
    ),
    "by the injection": ({"decay_datetime": "20200310090000"}, 0),
    # A late frame of a dynamic scan, corrected to the scan's start at 9:10.
    "by the decay factors": (
        {"decay_datetime": "20200310091000", "slices": frames(("100000", None, 120e3, decayed(3059.94)))},
        600,
    ),
}


@pytest.mark.parametrize("name", SUPPORTED)
def test_a_decay_correction_time_that_one_other_element_supports_is_used(name):
    header, seconds = SUPPORTED[name]
    assert result_of(**header).factors == (pytest.approx(0.0002 * 2 ** (seconds / HALF_LIFE), rel=1e-9),)


def test_a_blanked_decay_correction_time_is_refused_by_its_name():
    with pytest.raises(SuvError, match=r"\(0018,9701\).*\(0008,0032\).*600 min later"):
        result_of(decay_datetime="19000101000000")


def test_the_frames_that_a_setting_chooses_give_their_time():
    # Corrected to 9:10, ten minutes after the injection: 70000 / 350e6 * 2 ** (600 / 6586.2).
    header = {"slices": LATE}
    assert result_of({"reference_time": "frames"}, **header).factors == (
        pytest.approx(0.000213042, rel=1e-4),
    )
    assert result_of({"reference_time": "header"}, **header).factors == (pytest.approx(AT_TEN, rel=1e-9),)


def test_beds_corrected_each_to_its_own_start_have_no_time_to_choose():
    for setting in ("refuse", "frames"):
        with pytest.raises(SuvError, match="not corrected for decay to one time.*20 min apart"):
            result_of({"reference_time": setting}, slices=OWN_START)
    assert result_of({"reference_time": "header"}, slices=OWN_START).audit.flags


def test_hostile_times_are_readable():
    # log2(1e-300) = -996.6 half-lives of 6586.2 s are 76 days.
    flags = result_of(
        {"reference_time": "header"}, slices=frames(("100000", 60e3, 120e3, 1e-300))
    ).audit.flags
    assert "76 days later: SUV more than ten times as high" in " ".join(flags)
    assert "e+" not in " ".join(flags)
