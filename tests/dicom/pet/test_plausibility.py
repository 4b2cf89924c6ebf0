"""What looks odd and is flagged in `suv.json`: times, measures and factors that contradict each other."""

from __future__ import annotations

import pytest

from tests.dicom.pet.suv_cases import flags_of


@pytest.mark.parametrize(("start", "flagged"), [("090000", False), ("073000", True), ("093000", True)])
def test_uptake_time_is_flagged_outside_45_to_90_minutes(start, flagged):
    assert ("uptake time" in flags_of(injection_time=start)) == flagged


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # 7 / 1.75² = 2.29 kg/m²; 350 / 7 = 50 MBq/kg
        ({"weight_kg": 7.0}, ["body mass index of 2.3", "50 MBq per kg"]),
        # the height in cm: 7 / 1.75²
        ({"weight_kg": 7.0, "height_m": 175.0}, ["body mass index of 2.3"]),
        # 3.5 / 70 = 0.05 MBq/kg
        ({"total_dose_bq": 3.5e6}, ["0.05 MBq per kg"]),
        # Four times too much: 1400 / 70 = 20 MBq/kg (FDG: 370 to 740 MBq, SNMMI).
        ({"total_dose_bq": 1.4e9}, ["20 MBq per kg", "0.2 to 10"]),
        # Ga-68 as FDG is given: 350 / 70 = 5, twice that is too much (PSMA: 2 MBq/kg).
        (
            {"total_dose_bq": 7e8, "radionuclide": ("C-131A3",), "half_life_s": 4062.6},
            ["10 MBq per kg", "0.3 to 6"],
        ),
    ],
)
def test_measures_that_contradict_each_other_are_flagged(changes, words):
    assert all(word in flags_of(**changes) for word in words)


def test_measures_of_people_are_not_flagged():
    # An infant of 3.5 kg and 0.5 m: 14 kg/m²; 150 kg and 1.6 m: 58.6 kg/m²; both with 4 MBq/kg.
    for weight, height in ((70.0, 1.75), (70.0, 175.0), (3.5, 0.5), (150.0, 1.6), (70.0, None)):
        flags = flags_of(weight_kg=weight, height_m=height, total_dose_bq=weight * 4e6)
        assert "mass index" not in flags and "per kg" not in flags


def test_a_decay_time_after_the_first_acquisition_is_flagged():
    # 10:05 against slices from 10:00 on: decay is corrected to the start of the scan, not to its end.
    assert "5 min after the first acquisition" in flags_of(siemens_decay_datetime="20200310100500")
    assert "first acquisition" not in flags_of(siemens_decay_datetime="20200310100000")


@pytest.mark.parametrize(
    ("direct", "words"),
    # By weight, dose and times: 1.602563 * 70000 / 350e6 * 2 ** (3600 / 6586.2) = 0.000468152481187098.
    # 0.000468152 / 0.000551 - 1 = -15.04 %
    # 0.000468152 / 0.000446 - 1 = 4.97 %
    [(0.000468, ""), (0.000551, "differs by -15.0 %"), (0.000446, "differs by +5.0 %")],
)
def test_a_philips_factor_that_weight_and_dose_contradict_is_flagged(direct, words):
    changes = {"units": "CNTS", "philips_suv_factor": direct, "philips_activity_factor": 1.602563}
    assert ("(7053,xx00)" in flags_of(**changes)) == bool(words) and words in flags_of(**changes)
    assert "nothing checks (7053,xx00)" in flags_of(**changes, weight_kg=None)
    assert "nothing checks (7053,xx00)" in flags_of(**{**changes, "philips_activity_factor": None})


def test_series_and_slices_of_different_days_are_flagged():
    # 10 March 2017 to 10 March 2020: 3 × 365 + 1 days
    assert "dated 1096.0 days apart" in flags_of(series_date="20170310")
    assert "days apart" not in flags_of()


def test_stored_suv_that_says_not_to_be_decay_corrected_is_flagged():
    changes = {"units": "GML", "suv_type": "BW", "corrected_image": ("ATTN",)}
    assert "not corrected for decay" in flags_of(**changes, decay_correction="NONE")
    assert "not corrected for decay" not in flags_of(**changes, decay_correction="ADMIN")


def test_a_type_of_suv_beside_units_of_activity_is_flagged():
    assert "SUV Type BW beside units BQML" in flags_of(suv_type="BW")
    assert "SUV Type" not in flags_of(units="GML", suv_type="BW")


def test_an_unnamed_nuclide_that_is_not_fdgs_is_flagged():
    unnamed = {"radionuclide": (), "radiopharmaceutical": "Solution"}
    assert "the half-life is that of Ga-68" in flags_of(**unnamed, half_life_s=4062.6)
    assert "half-life" not in flags_of(**unnamed, half_life_s=6586.2)
