"""Times moved to noon of a day in the year 2000: every SUV stays, no date and no hour of the patient does."""

import dataclasses
import json
import random

import pytest

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.dicom.header.undated import undated
from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE, clock
from tests.dicom.pet.test_suv_plausible import VENDORS, mutated

NOON = {"series_time": "120000", "injection_time": "110000"}
HEADERS = {
    **VENDORS,
    "midnight": dataclasses.replace(
        BASE, **clock("20200310", "003000"), injection_time="", injection_datetime="20200309233000"
    ),
    "leap day": dataclasses.replace(
        BASE, **clock("20200301", "001500"), injection_time="", injection_datetime="20200229231500"
    ),
    "old form": dataclasses.replace(BASE, series_date="2020.03.10"),
    "zone": dataclasses.replace(
        BASE, injection_time="", injection_datetime="20200310080000.25+0000", timezone="+0100"
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_the_factor_stays_and_the_dates_go(name):
    header, moved = HEADERS[name], undated(HEADERS[name])
    assert suv_factor(moved, SuvSettings()).factors == pytest.approx(
        suv_factor(header, SuvSettings()).factors, rel=1e-12
    )
    text = json.dumps(moved.as_json()) + str(suv_factor(moved, SuvSettings()))
    assert "2020" not in text and "20000101" in text


@pytest.mark.parametrize("dates", [{"series_date": ""}, {"series_date": "20200310"}], ids=str)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)], ids=str)
def test_undated_beds_past_midnight_give_the_same_with_their_dates_kept(dates, order):
    clocks = ("235600", "235800", "000000", "000200")
    header = dataclasses.replace(
        BASE,
        **dates,
        series_time="",
        decay_correction="NONE",
        corrected_image=("ATTN",),
        injection_time="225600",
        slices=tuple(PetSlice("", clocks[n], None, 120e3) for n in order),
    )
    # 0.0002 * 2 ** ((3600 + 120 n + 59.94) / 6586.2)
    right = [2e-4 * 2 ** ((3600 + 120 * n + 59.94) / 6586.2) for n in order]
    for each in (header, undated(header)):
        assert suv_factor(each, SuvSettings()).factors == pytest.approx(right, rel=1e-5)


def test_a_refusal_names_the_days_between_and_no_date():
    header = undated(dataclasses.replace(BASE, injection_datetime="20200307090000"))
    with pytest.raises(SuvError, match="too long before") as refusal:
        suv_factor(header, SuvSettings())
    assert "2020" not in str(refusal.value) and "2000-01-04 12:00:00" in str(refusal.value)
    assert "4380.0 min" in str(refusal.value)  # 73 h, whatever the clocks read


def result(header, settings):
    """The factors, flags and uptake time of a header; the refusal's kind where there are none."""
    try:
        factor = suv_factor(header, settings)
    except SuvError:
        return "refused", (), None
    return factor.factors, factor.audit.flags, factor.uptake_minutes


@pytest.mark.parametrize("dates", ["refuse", "use_times"])
@pytest.mark.parametrize("name", VENDORS)
def test_changed_headers_give_the_same_with_and_without_their_times(name, dates):
    settings = SuvSettings(date_shift=dates)
    for seed in range(100):
        _, header = mutated(VENDORS[name], random.Random(seed))
        factors, flags, minutes = result(header, settings)
        again, flags_again, minutes_again = result(undated(header), settings)
        assert again == factors if factors == "refused" else again == pytest.approx(factors, rel=1e-12)
        assert flags_again == flags
        assert minutes_again == (minutes if minutes is None else pytest.approx(minutes, abs=1e-6))


def test_the_scan_is_at_noon_and_times_keep_their_distances():
    header = undated(dataclasses.replace(BASE, **clock("20200310", "003000.25"), injection_time="233000"))
    assert header.series_time == "120000.25" and header.injection_time == "110000"
    assert header.series_date == "20000101"
    late = dataclasses.replace(BASE, injection_time="", injection_datetime="20200309233000.5+0100")
    moved = undated(dataclasses.replace(late, **clock("20200310", "003000")))
    assert moved.injection_datetime == "20000101110000.5+0100" and moved.series_date == "20000101"


@pytest.mark.parametrize("text", ["18-04-2008 09:00:00", "99991399", "x"])
def test_what_is_no_date_is_not_passed_on(text):
    moved = undated(dataclasses.replace(BASE, injection_datetime=text, slices=(PetSlice(text, "100000"),)))
    assert moved.injection_datetime == moved.slices[0].acquisition_date == "unreadable"
    header = dataclasses.replace(BASE, injection_datetime=text)
    assert suv_factor(undated(header), SuvSettings()).factors == suv_factor(header, SuvSettings()).factors


def test_without_any_date_there_is_nothing_to_move():
    header = dataclasses.replace(BASE, series_date="", slices=(PetSlice("", "120000"),), **NOON)
    assert undated(header) == header
