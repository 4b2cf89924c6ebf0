"""Half-lives and radionuclides, and what is refused.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

from __future__ import annotations

import pytest

from pipeline.dicom.pet.radionuclide import nuclide_of
from pipeline.errors import SuvError
from tests.dicom.pet.suv_cases import audit_of, factors_of, flags_of

FACTORS = [
    # 70000 / 350e6 * 2 ** (3600 / 6588)
    ("half-life of 109.8 min", {"half_life_s": 6588.0}, {}, 0.000292097110642877),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("half-life missing, radionuclide known", {"half_life_s": None}, {}, 0.000292127349244366),
    # 70000 / 150e6 * 2 ** (3600 / 4062.6)
    (
        "gallium",
        {"radionuclide": ("C-131A3", "^68^Gallium"), "half_life_s": 4062.6, "total_dose_bq": 150e6},
        {},
        0.000862499998942599,
    ),
    # 70000 / 37e6 * 2 ** (3600 / 282240)
    (
        "zirconium",
        {
            "radionuclide": ("C-168A4", "^89^Zirconium"),
            "injection_datetime": "20200310090000",
            "half_life_s": 282240.0,
            "total_dose_bq": 37e6,
        },
        {},
        0.00190869257587531,
    ),
    # 70000 / 150e6 * 2 ** (3600 / 45725)
    (
        "copper named in words",
        {
            "radionuclide": ("^64^Copper",),
            "injection_datetime": "20200310090000",
            "half_life_s": 45725.0,
            "total_dose_bq": 150e6,
        },
        {},
        0.000492841576699432,
    ),
    # 70000 / 1000e6 * 2 ** (120 / 76.3)
    (
        "rubidium two minutes after injection",
        {
            "radionuclide": ("C-159A2", "^82^Rubidium"),
            "half_life_s": 76.3,
            "total_dose_bq": 1e9,
            "injection_time": "095800",
        },
        {},
        0.00020822827951605,
    ),
]

REFUSED = [
    ("half-life of C-11 on F-18", {"half_life_s": 1223.4}, {}, "half-life"),
    ("half-life in minutes", {"half_life_s": 109.8}, {}, "half-life"),
    (
        "half-life in minutes, no radionuclide",
        {"half_life_s": 109.8, "radionuclide": ()},
        {},
        "none of those",
    ),
    ("half-life in minutes says so", {"half_life_s": 109.77}, {}, r"minutes\?"),
    ("no half-life, no radionuclide", {"half_life_s": None, "radionuclide": ()}, {}, "half-life"),
    ("half-life of 0, no radionuclide", {"half_life_s": 0.0, "radionuclide": ()}, {}, "half-life"),
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


def test_a_missing_half_life_is_assumed_and_said():
    assert any("F-18" in assumption for assumption in audit_of(half_life_s=None).assumptions)


def test_a_tracer_of_another_nuclide_is_flagged():
    assert "Ga-68" in flags_of(radiopharmaceutical="68Ga-DOTATATE")


@pytest.mark.parametrize(
    ("tracer", "nuclide"),
    [
        ("[68Ga]Ga-PSMA-11 (compounded)", "Ga-68"),
        ("PSMA-11 compounded", ""),
        ("11Ccholine", "C-11"),
        ("Fluorine 18", "F-18"),
        ("Na18F", "F-18"),
        ("Cu 64 DOTATATE", "Cu-64"),
    ],
)
def test_a_number_of_the_molecule_is_no_mass(tracer, nuclide):
    assert nuclide_of((), tracer) == nuclide
