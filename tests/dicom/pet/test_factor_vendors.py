"""SUV factors of vendors' headers: private elements, counts, enhanced objects.

Every expected factor is a literal that was computed from the formula in the comment above
it, the seconds counted by hand from the clock readings; nothing of the code under test took
part. Base header: see `suv_cases.py`.
"""

from __future__ import annotations

import pytest

from pipeline.dicom.header.dicom_time import PetSlice
from tests.dicom.pet.suv_cases import factors_of, frames, slices

FACTORS = [
    # 70000 / 350e6 * 2 ** (3660 / 6586.2)
    (
        "GE: private scan time",
        {
            "manufacturer": "GE MEDICAL SYSTEMS",
            "series_time": "120000",
            "slices": slices("100130", "100430"),
            "ge_scan_datetime": "20200310100100.00",
        },
        {},
        0.000293977835746085,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2), IBSI-SUV manual
    (
        "GE: private scan time before an earlier series time",
        {
            "manufacturer": "GE MEDICAL SYSTEMS",
            "series_time": "094800",
            "ge_scan_datetime": "20200310100000.00",
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3660.5 / 6586.2)
    (
        "GE: private date left alone by de-identification",
        {
            "manufacturer": "GE MEDICAL SYSTEMS",
            "series_time": "120000",
            "slices": slices("100130"),
            "ge_scan_datetime": "20170310100100.50",
        },
        {},
        0.000293993305612579,
    ),
    # 70000 / 350e6 * 2 ** (3729 / 6586.2)
    (
        "GE: frame reference time counts to the frame's start",
        {
            "manufacturer": "GE MEDICAL SYSTEMS",
            "series_time": "120000",
            "slices": frames(("100815", 366000, 180000), ("100512", 183000, 180000), ("100209", 0, 180000)),
        },
        {},
        0.000296120391059352,
    ),
    # 70000 / 350e6 * 2 ** (3605.5 / 6586.2)
    (
        "Siemens: private decay correction time",
        {
            "manufacturer": "SIEMENS",
            "series_time": "120000",
            "slices": slices("100200"),
            "siemens_decay_datetime": "20200310100005.500000",
        },
        {},
        0.000292296491123781,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Siemens: private time tells the truth beside an early series time",
        {
            "manufacturer": "SIEMENS",
            "series_time": "095000",
            "slices": slices("100200"),
            "siemens_decay_datetime": "20200310100000.000000",
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** ((3780 - 240) / 6586.2) * x / (1 - exp(-x)), x = log(2) / 6586.2 * 120
    (
        "Siemens: altered series time, computed back from the frame",
        {"manufacturer": "SIEMENS", "series_time": "120000", "slices": frames(("100300", 240000, 120000))},
        {},
        0.000292125407900174,
    ),
    # 70000 / 350e6 * 2 ** ((3600 - 60) / 6586.2) * x / (1 - exp(-x)), x = log(2) / 6586.2 * 120
    (
        "Siemens: beds out of order, computed back from the frames",
        {
            "manufacturer": "SIEMENS",
            "series_time": "120000",
            "slices": frames(
                ("100600", 420000, 120000), ("100000", 60000, 120000), ("100300", 240000, 120000)
            ),
        },
        {},
        0.000292125407900174,
    ),
    # 70000 / 350e6 * 2 ** ((1200 - 600) / 1223.4) * x / (1 - exp(-x)), x = log(2) / 1223.4 * 600
    (
        "C-11: computed back, the average lies well before the middle",
        {
            "series_time": "120000",
            "half_life_s": 1223.4,
            "radionuclide": ("C-105A1", "^11^Carbon"),
            "slices": frames(("093000", 600000, 600000)),
            "injection_time": "091000",
        },
        {},
        0.000331432410801346,
    ),
    # 70000 / 350e6 * 2 ** (3750 / 6586.2)
    (
        "enhanced PET: decay correction time",
        {"decay_datetime": "20200310100230", "series_time": "120000"},
        {},
        0.000296775567328482,
    ),
    # 0.000551
    ("Philips: counts, SUV factor", {"units": "CNTS", "philips_suv_factor": 0.000551}, {}, 0.000551),
    # 0.000728
    (
        "Philips: counts, SUV factor before the activity factor",
        {"units": "CNTS", "philips_suv_factor": 0.000728, "philips_activity_factor": 1.602563},
        {},
        0.000728,
    ),
    # 1.602563 * 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: counts, activity factor alone",
        {"units": "CNTS", "philips_activity_factor": 1.602563},
        {},
        0.000468152481187098,
    ),
    # 4.709921 * 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: an SUV factor of 0 says none",
        {"units": "CNTS", "philips_suv_factor": 0.0, "philips_activity_factor": 4.709921},
        {},
        0.00137589673688037,
    ),
    # 0.000551
    (
        "Philips: counts need neither weight nor dose beside an SUV factor",
        {"units": "CNTS", "philips_suv_factor": 0.000551, "weight_kg": None, "total_dose_bq": None},
        {},
        0.000551,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: Bq/mL leave the private factors alone",
        {"units": "BQML", "philips_suv_factor": 0.003515736, "philips_activity_factor": 4.709921},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2): 11:00 in +0200 is 10:00 in +0100
    (
        "enhanced PET: both moments in UTC offsets of their own",
        {
            "decay_datetime": "20200310110000+0200",
            "injection_time": "",
            "injection_datetime": "20200310090000+0100",
            "slices": (PetSlice("20200310", "110100", None, 120000.0, None, "+0200"),),
            "series_time": "",
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Philips: Bq/mL with a private SUV factor of 0",
        {"manufacturer": "Philips Medical Systems", "philips_suv_factor": 0.0},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6588)
    (
        "United Imaging: half-life of 6588 s, date-less injection",
        {"manufacturer": "UIH", "model": "uMI 780", "half_life_s": 6588.0, "radionuclide": ("C-111A1",)},
        {},
        0.000292097110642877,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Canon: nuclide by its text alone",
        {
            "manufacturer": "CANON_MEC",
            "model": "Cartesion Prime",
            "radionuclide": ("Fluorine-18",),
            "half_life_s": None,
        },
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3600 / 6586.2)
    (
        "Mediso: no radionuclide named, half-life of F-18",
        {"manufacturer": "Mediso", "radionuclide": ()},
        {},
        0.000292127349244366,
    ),
    # 70000 / 350e6 * 2 ** (3791.234 / 6586.2): 12:00:37 to 13:03:48.234
    (
        "CPS: series time after the scan, frame reference time 0",
        {
            "manufacturer": "CPS",
            "series_time": "134918.000000",
            "slices": frames(("130348.234000", 0, 180000)),
            "injection_time": "120037.000000",
        },
        {},
        0.000298066242102262,
    ),
    # 0.000551 * 70 ** 0.425 * 175 ** 0.725 * 0.007184 * 1e4 / 70000
    (
        "Philips counts, asked for by body surface",
        {"units": "CNTS", "philips_suv_factor": 0.000551},
        {"normalisation": "bsa"},
        0.000145475257569266,
    ),
    # 0.000551
    (
        "Philips: counts, decay correction named by (0028,0051) alone",
        {"units": "CNTS", "philips_suv_factor": 0.000551, "decay_correction": ""},
        {},
        0.000551,
    ),
]


@pytest.mark.parametrize(
    ("header", "settings", "expected"), [row[1:] for row in FACTORS], ids=[row[0] for row in FACTORS]
)
def test_factor(header, settings, expected):
    assert factors_of(header, settings) == (pytest.approx(expected, rel=1e-9),)
