"""SUV factors by decay correction, dose, nuclide and normalisation.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

import dataclasses

import pytest

from pipeline.dicom.pet.factor import suv_factor
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE, frames

ROWS = [
    # 70000 / 350e6
    ("administered: no decay", {"decay_correction": "ADMIN"}, {}, 0.0002),
    # 70000 / 350e6
    (
        "administered: times don't matter",
        {"decay_correction": "ADMIN", "series_time": "", "injection_time": "", "half_life_s": None},
        {},
        0.0002,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "dose in MBq, conversion allowed",
        {"total_dose_bq": 350.0},
        {"dose_in_mbq": "convert"},
        0.000292127349244366,
    ),
    # 12500 / 45.5e6 * 2 ** (3600 / 6586.2)
    ("a child", {"weight_kg": 12.5, "total_dose_bq": 45.5e6}, {}, 0.000401273831379623),
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
        {"radionuclide": ("C-168A4", "^89^Zirconium"), "half_life_s": 282240.0, "total_dose_bq": 37e6},
        {},
        0.00190869257587531,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    ("corrections not listed", {"corrected_image": ()}, {}, 0.000292127349244366),
    # 1.0
    ("stored SUV", {"units": "GML", "suv_type": "BW", "decay_correction": "ADMIN"}, {}, 1),
    # 1.0
    ("stored SUV without type", {"units": "GML", "weight_kg": None, "total_dose_bq": None}, {}, 1),
    # (1.10 * 70 - 128 * (70 / 175) ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    ("lean body mass, James, man", {}, {"normalisation": "lbm_james"}, 0.000235871968275594),
    # (1.07 * 60 - 148 * (60 / 165) ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "lean body mass, James, woman",
        {"sex": "F", "weight_kg": 60.0, "height_m": 1.65},
        {"normalisation": "lbm_james"},
        0.000186251016692966,
    ),
    # 9270 * 70 / (6680 + 216 * 70 / 1.75 ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    ("lean body mass, Janmahasatian, man", {}, {"normalisation": "lbm_janmahasatian"}, 0.000233105554506479),
    # 9270 * 60 / (8780 + 244 * 60 / 1.65 ** 2) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "lean body mass, Janmahasatian, woman",
        {"sex": "F", "weight_kg": 60.0, "height_m": 1.65},
        {"normalisation": "lbm_janmahasatian"},
        0.000163953744036237,
    ),
    # 70 ** 0.425 * 175 ** 0.725 * 0.007184 * 1e4 / 350e6 * 2 ** (3600 / 6586.2)
    ("body surface", {}, {"normalisation": "bsa"}, 7.71275887011815e-05),
    # (48.0 + 1.06 * (175 - 152)) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    ("ideal body weight, man", {}, {"normalisation": "ibw"}, 0.000302059679118674),
    # (45.5 + 0.91 * (165 - 152)) * 1000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "ideal body weight, woman",
        {"sex": "F", "weight_kg": 60.0, "height_m": 1.65},
        {"normalisation": "ibw"},
        0.000239252299031136,
    ),
    # 9270 * 70 / (6680 + 216 * 70 / 1.75 ** 2) / 70
    (
        "stored SUV by weight, asked for by lean mass",
        {"units": "GML", "suv_type": "BW"},
        {"normalisation": "lbm_janmahasatian"},
        0.797958681751107,
    ),
    # 70 / (1.10 * 70 - 128 * (70 / 175) ** 2)
    (
        "stored SUV by lean mass, asked for by weight",
        {"units": "GML", "suv_type": "LBMJAMES128"},
        {},
        1.23849964614296,
    ),
    # 70000 / 150e6 * 2 ** (3600 / 45725)
    (
        "copper named in words",
        {"radionuclide": ("^64^Copper",), "half_life_s": 45725.0, "total_dose_bq": 150e6},
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
    # 70000 / 350e6
    (
        "values that refer to the injection by their own decay correction time",
        {"decay_datetime": "20200310090000"},
        {},
        0.0002,
    ),
]


@pytest.mark.parametrize(("header", "settings", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_factor(header, settings, expected):
    result = suv_factor(dataclasses.replace(BASE, **header), SuvSettings(**settings))
    assert result.factors == (pytest.approx(expected, rel=1e-9),)


def test_no_decay_correction_gives_a_factor_per_slice():
    # 70000 / 350e6 * 2 ** ((3600 + ln(x / (1 - exp(-x))) / ln 2 * 6586.2) / 6586.2), x = ln 2 / 6586.2 * 120
    # and the same with 3900 s: the second bed starts five minutes later.
    header = dataclasses.replace(
        BASE,
        decay_correction="NONE",
        corrected_image=("NORM", "ATTN", "SCAT"),
        slices=frames(("100000", 0, 120000), ("100500", 0, 120000)),
    )
    result = suv_factor(header, SuvSettings())
    assert result.factors == (
        pytest.approx(0.00029397588210441, rel=1e-9),
        pytest.approx(0.00030340557323116, rel=1e-9),
    )
