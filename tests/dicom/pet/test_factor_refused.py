"""Headers that cannot give an SUV, and the words that the refusal must hold."""

import dataclasses

import pytest

from pipeline.dicom.header.pet_header import PetHeader, PetSlice
from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE, clock, frames

REFUSED = [
    ("no units", {"units": ""}, {}, "units"),
    ("percent", {"units": "PROPCNTS"}, {}, "PROPCNTS"),
    ("counts without a factor", {"units": "CNTS"}, {}, r"7053"),
    ("negative Philips factor", {"units": "CNTS", "philips_suv_factor": -1.0}, {}, "7053"),
    ("no weight", {"weight_kg": None}, {}, "weight"),
    ("weight of 0", {"weight_kg": 0.0}, {}, "weight"),
    ("weight in grams", {"weight_kg": 70000.0}, {}, r"weight.*grams\?"),
    ("no dose", {"total_dose_bq": None}, {}, "dose"),
    ("dose of 0", {"total_dose_bq": 0.0}, {}, "dose"),
    ("dose in MBq", {"total_dose_bq": 350.0}, {}, "MBq where Bq"),
    ("dose in kBq", {"total_dose_bq": 350e3}, {}, "impossible dose"),
    ("dose in Ci", {"total_dose_bq": 0.0095}, {}, "impossible dose.*Ci"),
    ("dose in mCi", {"total_dose_bq": 9.5}, {}, "impossible dose.*mCi"),
    ("dose in mCi, though MBq may be read", {"total_dose_bq": 9.5}, {"dose_in_mbq": "convert"}, "mCi"),
    ("body surface units", {"units": "CM2ML"}, {}, "CM2ML"),
    ("counts per second", {"units": "PROPCPS"}, {}, "PROPCPS"),
    ("stored SUV by body surface in g/mL", {"units": "GML", "suv_type": "BSA"}, {}, "BSA"),
    ("stored lean SUV of no named formula", {"units": "GML", "suv_type": "LBM"}, {}, "LBM"),
    (
        "negative Philips SUV factor, no activity factor",
        {"units": "CNTS", "philips_suv_factor": -0.5, "philips_activity_factor": 0.0},
        {},
        "7053",
    ),
    (
        "negative dose, even where MBq may be read",
        {"total_dose_bq": -350.0},
        {"dose_in_mbq": "convert"},
        "dose",
    ),
    ("no attenuation correction", {"corrected_image": ("NORM", "DECY")}, {}, "attenuation"),
    ("no decay correction named", {"decay_correction": ""}, {}, "decay correction"),
    ("decay correction unknown", {"decay_correction": "SCAN"}, {}, "SCAN"),
    ("START without DECY", {"corrected_image": ("ATTN",)}, {}, "contradict"),
    ("NONE with DECY", {"decay_correction": "NONE"}, {}, "contradict"),
    (
        "NONE without frame durations",
        {"decay_correction": "NONE", "corrected_image": ("ATTN",)},
        {},
        "each slice's own times",
    ),
    ("half-life of C-11 on F-18", {"half_life_s": 1223.4}, {}, "half-life"),
    ("half-life in minutes", {"half_life_s": 109.8}, {}, "half-life"),
    (
        "half-life in minutes, no radionuclide",
        {"half_life_s": 109.8, "radionuclide": ()},
        {},
        "none of those",
    ),
    ("half-life in minutes says so", {"half_life_s": 109.77}, {}, r"minutes\?"),
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
    ("no half-life, no radionuclide", {"half_life_s": None, "radionuclide": ()}, {}, "half-life"),
    ("half-life of 0, no radionuclide", {"half_life_s": 0.0, "radionuclide": ()}, {}, "half-life"),
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
    ("no times of the scan", {"series_time": "", "slices": (PetSlice(),)}, {}, "acquisition time"),
    (
        "late series time and frames that disagree",
        {"series_time": "120000", "slices": frames(("100000", 60000, 120000), ("100300", 60000, 120000))},
        {},
        "not clear",
    ),
    ("two radiopharmaceuticals", {"radiopharmaceutical_items": 2}, {}, "several radiopharmaceuticals"),
    ("weight differs between slices", {"differing": ("weight_kg",)}, {}, "weight_kg"),
    ("stored SUV of an unknown kind", {"units": "GML", "suv_type": "XYZ"}, {}, "XYZ"),
    (
        "stored lean SUV without height",
        {"units": "GML", "suv_type": "LBMJANMA", "height_m": None},
        {},
        "height",
    ),
    ("height in cm", {"height_m": 175.0}, {"normalisation": "lbm_james"}, "height"),
    ("sex not given", {"sex": "O"}, {"normalisation": "ibw"}, "sex"),
    (
        "James' formula beyond its range",
        {"weight_kg": 250.0, "height_m": 1.5},
        {"normalisation": "lbm_james"},
        "range",
    ),
    (
        "Philips: one SUV factor for counts that were not decay-corrected",
        {
            "units": "CNTS",
            "philips_suv_factor": 0.000551,
            "decay_correction": "NONE",
            "corrected_image": ("ATTN",),
        },
        {},
        "not corrected for decay",
    ),
    (
        "Philips: counts without DECY, decay correction not named",
        {
            "units": "CNTS",
            "philips_suv_factor": 0.000551,
            "decay_correction": "",
            "corrected_image": ("ATTN",),
        },
        {},
        "not corrected for decay",
    ),
    (
        "NONE, but slices were multiplied by decay factors",
        {
            "decay_correction": "NONE",
            "corrected_image": ("ATTN",),
            "slices": frames(("100000", 0, 120000, 1.0063), ("100500", 0, 120000, 1.0386)),
        },
        {},
        r"contradict.*\(0054,1321\)",
    ),
    ("weight and height swapped", {"weight_kg": 1.75, "height_m": 70.0}, {}, "swapped"),
    (
        "weight and height swapped, stored SUV to be divided by lean mass",
        {"units": "GML", "suv_type": "BW", "weight_kg": 1.65, "height_m": 60.0},
        {"normalisation": "lbm_james"},
        "swapped",
    ),
]


@pytest.mark.parametrize(
    ("header", "settings", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_refused(header, settings, words):
    with pytest.raises(SuvError, match=words):
        suv_factor(dataclasses.replace(BASE, **header), SuvSettings(**settings))


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(SuvError, match=r"units.*weight.*dose"):
        suv_factor(PetHeader(slices=(PetSlice(),)), SuvSettings())
