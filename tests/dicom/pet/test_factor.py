"""SUV factors by units and decay correction, and what is refused.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE, factors_of, frames

FACTORS = [
    # 70000 / 350e6
    ("administered: no decay", {"decay_correction": "ADMIN"}, {}, 0.0002),
    # 70000 / 350e6
    (
        "administered: times don't matter",
        {"decay_correction": "ADMIN", "series_time": "", "injection_time": "", "half_life_s": None},
        {},
        0.0002,
    ),
    # 12500 / 45.5e6 * 2 ** (3600 / 6586.2)
    ("a child", {"weight_kg": 12.5, "total_dose_bq": 45.5e6}, {}, 0.000401273831379623),
    # 1.0
    ("stored SUV", {"units": "GML", "suv_type": "BW", "decay_correction": "ADMIN"}, {}, 1),
    # 1.0
    ("stored SUV without type", {"units": "GML", "weight_kg": None, "total_dose_bq": None}, {}, 1),
]

REFUSED = [
    ("counts without a factor", {"units": "CNTS"}, {}, r"7053"),
    ("negative Philips factor", {"units": "CNTS", "philips_suv_factor": -1.0}, {}, "7053"),
    ("stored SUV by body surface in g/mL", {"units": "GML", "suv_type": "BSA"}, {}, "BSA"),
    ("stored lean SUV of no named formula", {"units": "GML", "suv_type": "LBM"}, {}, "LBM"),
    (
        "negative Philips SUV factor, no activity factor",
        {"units": "CNTS", "philips_suv_factor": -0.5, "philips_activity_factor": 0.0},
        {},
        "7053",
    ),
    (
        "NONE without frame durations",
        {"decay_correction": "NONE", "corrected_image": ("ATTN",)},
        {},
        "each slice's own times",
    ),
    ("stored SUV of an unknown kind", {"units": "GML", "suv_type": "XYZ"}, {}, "XYZ"),
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


def test_no_decay_correction_gives_a_factor_per_slice():
    # 70000 / 350e6 * 2 ** ((3600 + ln(x / (1 - exp(-x))) / ln 2 * 6586.2) / 6586.2), x = ln 2 / 6586.2 * 120
    # and the same with 3900 s: the second bed starts five minutes later.
    header = dataclasses.replace(
        BASE,
        decay_correction="NONE",
        corrected_image=("NORM", "ATTN", "SCAT"),
        slices=frames(("100000", 0, 120000), ("100500", 0, 120000)),
    )
    assert suv_factor(header, SuvSettings()).factors == (
        pytest.approx(0.00029397588210441, rel=1e-9),
        pytest.approx(0.00030340557323116, rel=1e-9),
    )
