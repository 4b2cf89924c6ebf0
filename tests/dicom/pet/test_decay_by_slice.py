"""Values without decay correction: every bed is decayed to its own frame, or the series is refused.

Every expected factor is a literal from the formula in the comment above it. Base header: see `suv_cases.py`
(injection 09:00, series and acquisition 10:00, F-18). The mean of 120 s of F-18 is reached after 59.94 s.
"""

from __future__ import annotations

import pytest

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.errors import SuvError
from tests.dicom.pet.suv_cases import audit_of, factors_of, flags_of, frames

NONE = {"decay_correction": "NONE", "corrected_image": ("ATTN", "SCAT")}
C11 = {"half_life_s": 1221.7, "radionuclide": ("C-105A1", "^11^Carbon")}
# 0.0002 * 2 ** ((3600 + 300 n + 59.94) / 6586.2), n = 0, 1, 2, 3
F18_BEDS = (0.000293975979, 0.000303405674, 0.000313137839, 0.000323182177)
# 0.0002 * 2 ** ((3600 + 300 n + 59.66) / 1221.7), n = 0, 1
C11_BEDS = (0.00159506929, 0.00189103827)


def shared(*reference_ms, duration=120e3):
    """Beds of one acquisition time, 10:00."""
    return {**NONE, "slices": frames(*[("100000", ms, duration) for ms in reference_ms])}


@pytest.mark.parametrize(
    ("first_ms", "maker"), [(59940, "VENDOR"), (0, "VENDOR"), (0, "GE MEDICAL SYSTEMS")], ids=str
)
def test_beds_that_share_one_acquisition_time_lie_at_their_offsets(first_ms, maker):
    beds = shared(*[first_ms + 300e3 * n for n in range(4)])
    assert factors_of({**beds, "manufacturer": maker}, {}) == pytest.approx(F18_BEDS, rel=1e-5)
    audit = audit_of(**beds, manufacturer=maker)
    assert not audit.flags and "several beds share it" in " ".join(audit.assumptions)


def test_beds_of_carbon():
    assert factors_of({**shared(59.66e3, 359.66e3), **C11}, {}) == pytest.approx(C11_BEDS, rel=1e-5)


RIGHT = {
    "each bed's own time and offset": frames(
        *[(f"10{5 * n:02d}00", 59940 + 300e3 * n, 120e3) for n in range(4)]
    ),
    "each bed's own time, counted to its own start": frames(
        *[(f"10{5 * n:02d}00", 59940, 120e3) for n in range(4)]
    ),
    "each bed's own time, nothing else": frames(*[(f"10{5 * n:02d}00", None, 120e3) for n in range(4)]),
}


@pytest.mark.parametrize("name", RIGHT)
def test_beds_of_their_own_times_stay_as_they_are(name):
    header = {**NONE, "slices": RIGHT[name]}
    assert factors_of(header, {}) == pytest.approx(F18_BEDS, rel=1e-5)
    assert not flags_of(**header)


def test_a_late_frame_whose_series_began_at_the_scans_start():
    # 0.0002 * 2 ** ((5400 + 59.94) / 6586.2): acquired at 10:30, half an hour after the series time
    header = {**NONE, "slices": frames(("103000", 1859940, 120e3))}
    assert factors_of(header, {}) == pytest.approx((0.000355289978,), rel=1e-5)
    assert not flags_of(**header)


REFUSED = {
    "a late frame that began at 10:00 or at 10:30": (shared(1859940), "not clear.*30 min"),
    "later beds alone": (shared(1259940, 1559940), "not clear"),
    "beds of two times, offsets of others": (
        {**NONE, "slices": frames(("100000", 59940, 120e3), ("100001", 959940, 120e3))},
        "not clear.*15 min",
    ),
    "20 min written in seconds": (shared(600e3, duration=1200.0), r"1200 \(seconds\?\)"),
    "a negative duration": (shared(59940, duration=-120e3), "impossible duration"),
    "a duration of a day": (shared(59940, duration=86.4e6), "impossible duration"),
    "beyond all numbers": (shared(59940, duration=1e300), "impossible"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    header, words = REFUSED[name]
    with pytest.raises(SuvError, match=words):
        factors_of(header, {})


def test_beds_that_would_overlap_are_flagged():
    # 0 in one slice only: the others would count to the frame's start, and lie a minute apart of 2 min each
    assert "apart from their acquisition times" in flags_of(**shared(59940, 239940, 0))


def test_a_series_time_long_before_the_frames_is_flagged():
    late = frames(("102000", 59940, 120e3), ("102500", 359940, 120e3))
    assert "20 min after the series time" in flags_of(**NONE, slices=late)


def test_the_settings_say_when_a_late_frame_was():
    # 0.0002 * 2 ** ((3600 + 1800 + 59.94) / 6586.2), and without the 1800 s
    late = shared(1859940)
    assert factors_of(late, {"reference_time": "frames"}) == pytest.approx((0.000355289978,), rel=1e-5)
    assert factors_of(late, {"reference_time": "header"}) == pytest.approx((0.000293975859,), rel=1e-5)


def test_one_time_of_all_slices_without_an_offset_is_flagged():
    assert "no (0054,1300) says" in flags_of(**shared(None, None))


def test_a_minute_between_offset_and_acquisition_is_flagged():
    assert "apart from their acquisition times" in flags_of(**shared(149940, duration=120e3))


@pytest.mark.parametrize("reference_ms", [1e16, 1e300, -1e18])
@pytest.mark.parametrize("correction", ["START", "NONE"])
def test_an_offset_of_years_is_refused_with_its_reason(reference_ms, correction):
    corrected = ("ATTN", "DECY") if correction == "START" else ("ATTN",)
    header = {
        "decay_correction": correction,
        "corrected_image": corrected,
        "series_time": "",
        "slices": (PetSlice("20200310", "100000", reference_ms, 120e3),),
    }
    with pytest.raises(SuvError, match=r"impossible.*\(0054,1300\)"):
        factors_of(header, {"reference_time": "frames"})
