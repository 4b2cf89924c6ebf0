"""What the seventeen IBSI-SUV reference objects try, on headers of our own: for places where the objects are not.

The objects themselves are not part of the repository; where they are, `test_ibsi_suv.py` reads them. The names are
theirs; each factor is a literal from the formula in the comment. Base header: `suv_cases.py` (70 kg, 350 MBq of F-18 at
09:00, corrected to 10:00); the average of a frame of 300 s of F-18 is reached after 149.605 s, of 603 s at 299.906 s.
DRO_1_0, slopes of every slice, is tried on files (`tests/dicom/series/test_acquisitions.py`, `tests/dicom/volume`).
"""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE, factors_of, frames

AT_TEN = 0.00029212734924436573  # 70000 / 350e6 * 2 ** (3600 / 6586.2)
PHILIPS = {"manufacturer": "Philips Medical Systems", "units": "CNTS"}
FRAME = ("100000", 150e3, 300e3)
BOTH = {"injection_time": "090000", "injection_datetime": "20200310090000"}
BASIC = {**BOTH, "slices": frames(FRAME)}
# Acquired from 10:30 on; GE's private time and the series time say 10:00.
GE_PRIVATE = {
    "manufacturer": "GE MEDICAL SYSTEMS",
    "ge_scan_datetime": "20200310100000.000000",
    "slices": frames(("103000", 150e3, 300e3)),
}
OBJECTS = {
    "DRO_0_0 Bq/mL, START": ({}, {}, (AT_TEN,)),
    "DRO_2_0 SUVbw": ({"units": "GML", "suv_type": "BW"}, {}, (1.0,)),
    # 70 / (1.10 * 70 - 128 * (70 / 175) ** 2)
    "DRO_2_1 SUVlbm by James": ({"units": "GML", "suv_type": "LBMJAMES128"}, {}, (1.2384996461429583,)),
    # 70 / mean of 48.0 + 1.06 * (175 - 152) and 45.5 + 0.91 * (175 - 152)
    "DRO_2_2 SUVibw, sex O": ({"units": "GML", "suv_type": "IBW", "sex": "O"}, {}, (1.0085728693898135,)),
    # 70000 / (70 ** 0.425 * 175 ** 0.725 * 0.007184e4)
    "DRO_2_3 SUVbsa": ({"units": "CM2ML", "suv_type": "BSA"}, {}, (3.787585663752128,)),
    "DRO_2_4 Philips' SUV factor": ({**PHILIPS, "philips_suv_factor": 0.0005}, {}, (0.0005,)),
    # half of the factor above
    "DRO_2_5 Philips' activity factor": (
        {**PHILIPS, "philips_activity_factor": 0.5},
        {},
        (0.00014606367462218287,),
    ),
    "DRO_3_0 dose in MBq": ({"total_dose_bq": 350.0}, {"dose_in_mbq": "convert"}, (AT_TEN,)),
    "DRO_3_1 ADMIN": ({"decay_correction": "ADMIN"}, {}, (0.0002,)),
    # Two beds: 10:02:30 + 299.906 s - 449.906 s, 10:05:00 + 299.906 s - 599.906 s.
    "DRO_3_2 series time after the acquisitions": (
        {"series_time": "103000", "slices": frames(("100230", 449906.0, 603e3), ("100500", 599906.0, 603e3))},
        {},
        (AT_TEN,),
    ),
    "DRO_3_3 GE's private time": (GE_PRIVATE, {"reference_time": "header"}, (AT_TEN,)),
    # 70000 / 350e6 * 2 ** ((3600 + 149.605) / 6586.2), and 300 s later
    "DRO_3_4 not corrected, two times": (
        {
            "decay_correction": "NONE",
            "corrected_image": ("ATTN",),
            "slices": frames(("100000", 150e3, 300e3), ("100500", 450e3, 300e3)),
        },
        {},
        (0.00029676324116629675, 0.0003062823407670499),
    ),
    "DRO_4_0 dated injection only": ({"injection_time": ""}, {}, (AT_TEN,)),
    "DRO_4_1 injection's time of day only": ({"injection_datetime": ""}, {}, (AT_TEN,)),
    # 23:30 to 00:30
    "DRO_4_2 past midnight": (
        {
            "injection_datetime": "",
            "injection_time": "233000",
            "series_date": "20200311",
            "series_time": "003000",
            "slices": (PetSlice("20200311", "003000", 150e3, 300e3),),
        },
        {},
        (AT_TEN,),
    ),
    # 70000 / 350e6 * 2 ** (3600 / 4057.7)
    "DRO_5_0 Ga-68": (
        {"radionuclide": ("C-131A3", "^68^Gallium"), "half_life_s": 4057.7},
        {},
        (0.00036991712992725167,),
    ),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_situation_of_a_reference_object(name):
    header, settings, expected = OBJECTS[name]
    assert factors_of({**BASIC, **header}, settings) == pytest.approx(expected, rel=1e-4)


def test_what_is_refused_names_the_setting():
    for header, setting in (
        ({"total_dose_bq": 350.0}, r"suv\.dose_in_mbq: convert"),
        (GE_PRIVATE, r"suv\.reference_time: header"),
    ):
        with pytest.raises(SuvError, match=setting):
            suv_factor(dataclasses.replace(BASE, **{**BASIC, **header}), SuvSettings())
