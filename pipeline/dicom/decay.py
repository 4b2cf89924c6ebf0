"""Radioactive decay: pure physics, times in seconds."""

from __future__ import annotations

import math

# Half-lives (s) by nuclide: Decay Data Evaluation Project (LNHB), as listed in DICOM's
# PET practice; scanners write 6586.2 or 6588 for F-18, 4057.7 to 4080 for Ga-68.
HALF_LIFE_S = {
    "F-18": 6586.2,
    "C-11": 1221.7,
    "N-13": 597.9,
    "O-15": 122.27,
    "Ga-68": 4062.6,
    "Cu-64": 45725.0,
    "Rb-82": 76.3,
    "Zr-89": 282_280.0,
    "I-124": 360_800.0,
    "Y-86": 53_064.0,
    "Y-90": 230_550.0,
    "Cu-62": 580.3,
    "Br-76": 58_320.0,
    "Ge-68": 23_408_000.0,
    "Na-22": 82_105_000.0,
}
ELEMENTS = {
    "F": "fluorine", "C": "carbon", "N": "nitrogen", "O": "oxygen", "Ga": "gallium", "Cu": "copper",
    "Rb": "rubidium", "Zr": "zirconium", "I": "iodine", "Y": "yttrium",
    "Br": "bromine", "Ge": "germanium", "Na": "sodium",
}  # fmt: skip
# (0054,0300) code values: SNM3/SRT C-1xxxx and SNOMED CT (PS3.16 CID 4020).
NUCLIDE_CODES = {
    "C-111A1": "F-18", "77004003": "F-18",
    "C-105A1": "C-11", "40565003": "C-11",
    "C-107A1": "N-13", "21576001": "N-13",
    "C-B1038": "O-15", "65857006": "O-15",
    "C-131A3": "Ga-68", "80751004": "Ga-68",
    "C-127A2": "Cu-64", "65494001": "Cu-64",
    "C-159A2": "Rb-82", "79197006": "Rb-82",
    "C-168A4": "Zr-89", "11993008": "Zr-89",
    "C-114A5": "I-124", "1841005": "I-124",
}  # fmt: skip


def remaining(seconds: float, half_life_s: float) -> float:
    """Share of the activity left after a time; above 1 for a negative time."""
    return math.pow(2.0, -seconds / half_life_s)


def average_time(duration_s: float, half_life_s: float) -> float:
    """Time after a frame's start at which the activity equals the frame's mean.

    t = ln(λT / (1 − exp(−λT))) / λ (QIBA FDG-PET/CT profile, SUV pseudo-code); slightly
    less than half the duration T.
    """
    decay = math.log(2.0) / half_life_s
    x = decay * duration_s
    if x < 1e-6:  # the quotient loses its digits; t → T/2 − λT²/24
        return duration_s / 2.0 - decay * duration_s**2 / 24.0
    return math.log(x / -math.expm1(-x)) / decay
