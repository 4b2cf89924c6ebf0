"""SUV by lean body mass, body surface and ideal weight, and what is refused.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

from __future__ import annotations

import pytest

from pipeline.errors import SuvError
from tests.dicom.pet.suv_cases import factors_of

FACTORS = [
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
    # 70 / (1.10 * 70 - 120 * (70 / 175) ** 2)
    (
        "stored SUV by lean mass of no named formula, the setting names it",
        {"units": "GML", "suv_type": "LBM"},
        {"stored_lbm": "james_120"},
        1.21107266435986,
    ),
    # 70e3 / (70 ** 0.425 * 175 ** 0.725 * 0.007184 * 1e4)
    ("stored SUV by body surface", {"units": "CM2ML", "suv_type": "BSA"}, {}, 3.78758566375213),
    ("stored SUV in cm2/mL of no type", {"units": "CM2ML"}, {}, 3.78758566375213),
    # 70 / ((48.0 + 1.06 * 23 + 45.5 + 0.91 * 23) / 2), IBSI-SUV manual
    (
        "sex O: the mean of both formulas",
        {"units": "GML", "suv_type": "IBW", "sex": "O"},
        {},
        1.00857286938981,
    ),
]

REFUSED = [
    (
        "stored lean SUV without height",
        {"units": "GML", "suv_type": "LBMJANMA", "height_m": None},
        {},
        "height",
    ),
    ("height in cm", {"height_m": 175.0}, {"normalisation": "lbm_james"}, "height"),
    ("sex not given", {"sex": ""}, {"normalisation": "ibw"}, "sex"),
    (
        "James' formula beyond its range",
        {"weight_kg": 250.0, "height_m": 1.5},
        {"normalisation": "lbm_james"},
        "range",
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
