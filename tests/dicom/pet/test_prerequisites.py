"""What a header must hold: units, weight, dose, corrections.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

from __future__ import annotations

import pytest

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import factors_of, frames

FACTORS = [
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "dose in MBq, conversion allowed",
        {"total_dose_bq": 350.0},
        {"dose_in_mbq": "convert"},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    # 10e3 / 30e6 * 2 ** (3600 / 6586.2)
    (
        "dose in MBq of a child",
        {"total_dose_bq": 30.0, "weight_kg": 10.0},
        {"dose_in_mbq": "convert"},
        0.000486878915407276,
    ),
    ("corrections not listed", {"corrected_image": ()}, {}, 0.000292127349244366),
]

REFUSED = [
    ("no units", {"units": ""}, {}, "units"),
    ("percent", {"units": "PROPCNTS"}, {}, "PROPCNTS"),
    ("no weight", {"weight_kg": None}, {}, "weight"),
    ("weight of 0", {"weight_kg": 0.0}, {}, "weight"),
    ("weight in grams", {"weight_kg": 70000.0}, {}, r"weight.*grams\?"),
    ("no dose", {"total_dose_bq": None}, {}, "dose"),
    ("dose of 0", {"total_dose_bq": 0.0}, {}, "dose"),
    ("dose in MBq", {"total_dose_bq": 350.0}, {}, "MBq where Bq"),
    ("dose in µCi, though MBq may be read", {"total_dose_bq": 9459.0}, {"dose_in_mbq": "convert"}, "µCi"),
    ("dose in mCi as high as MBq are", {"total_dose_bq": 25.1}, {"dose_in_mbq": "convert"}, "mCi"),
    ("mCi or MBq", {"total_dose_bq": 50.0}, {"dose_in_mbq": "convert"}, "MBq or mCi"),
    ("dose in kBq", {"total_dose_bq": 350e3}, {}, "impossible dose"),
    ("dose in Ci", {"total_dose_bq": 0.0095}, {}, "impossible dose.*Ci"),
    ("dose in mCi", {"total_dose_bq": 9.5}, {}, "impossible dose.*mCi"),
    ("dose in mCi, though MBq may be read", {"total_dose_bq": 9.5}, {"dose_in_mbq": "convert"}, "mCi"),
    ("body weight in units of body surface", {"units": "CM2ML", "suv_type": "BW"}, {}, "CM2ML"),
    ("counts per second", {"units": "PROPCPS"}, {}, "PROPCPS"),
    (
        "negative dose, even where MBq may be read",
        {"total_dose_bq": -350.0},
        {"dose_in_mbq": "convert"},
        "dose",
    ),
    ("no attenuation correction", {"corrected_image": ("NORM", "DECY")}, {}, "attenuation"),
    ("no method of attenuation correction", {"unattenuated": True}, {}, r"attenuation.*\(0054,1101\)"),
    (
        "no method of attenuation correction, corrections not listed",
        {"unattenuated": True, "corrected_image": ()},
        {},
        r"attenuation.*\(0054,1101\)",
    ),
    (
        "no method of attenuation correction, stored SUV",
        {"unattenuated": True, "units": "GML", "suv_type": "BW"},
        {},
        r"attenuation.*\(0054,1101\)",
    ),
    ("no decay correction named", {"decay_correction": ""}, {}, "decay correction"),
    ("decay correction unknown", {"decay_correction": "SCAN"}, {}, "SCAN"),
    ("START without DECY", {"corrected_image": ("ATTN",)}, {}, "contradict"),
    ("NONE with DECY", {"decay_correction": "NONE"}, {}, "contradict"),
    ("two radiopharmaceuticals", {"radiopharmaceutical_items": 2}, {}, "several radiopharmaceuticals"),
    ("weight differs between slices", {"differing": ("weight_kg",)}, {}, "weight_kg"),
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


def test_all_that_is_missing_is_named_at_once():
    with pytest.raises(SuvError, match=r"units.*weight.*dose"):
        suv_factor(PetHeader(slices=(PetSlice(),)), SuvSettings())
