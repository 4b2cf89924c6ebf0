"""Radionuclides: their decay, which one a PET header names, and whether its half-life is right."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.dicom.header.free_text import NUCLIDE_CODES
from pipeline.dicom.header.pet_header import SuvAudit
from pipeline.errors import SuvError

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
    "Cu-61": 12_020.0,
    "Sc-43": 14_010.0,
    "Sc-44": 14_550.0,
    "Mn-52": 483_060.0,
    "Co-55": 63_110.0,
    "Ga-66": 34_160.0,
    "Br-75": 5_802.0,
    "Tc-94m": 3_120.0,
    "Tb-152": 63_000.0,
    "Lu-177": 574_300.0,
    "Na-22": 82_105_000.0,
}
ELEMENTS = {
    "F": "fluorine", "C": "carbon", "N": "nitrogen", "O": "oxygen", "Ga": "gallium", "Cu": "copper",
    "Rb": "rubidium", "Zr": "zirconium", "I": "iodine", "Y": "yttrium",
    "Br": "bromine", "Ge": "germanium", "Na": "sodium",
    "Sc": "scandium", "Mn": "manganese", "Co": "cobalt", "Tc": "technetium", "Tb": "terbium", "Lu": "lutetium",
}  # fmt: skip


def decay_fraction(seconds: float, half_life_s: float) -> float:
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


# Scanners round: F-18 is written as 6586.2, 6588 and 6600 (0.2 % of half-life is 0.1 % of SUV).
_TOLERANCE = 0.01
_CODE = re.compile(r"^(C-[0-9A-F]{5}|\d+)$")
_WHERE = "(0018,1075) Radionuclide Half Life"


@dataclass(frozen=True)
class HalfLife:
    """The half-life to reckon with, and how it was checked."""

    seconds: float
    audit: SuvAudit


def nuclide_of(codes: Sequence[str], tracer: str) -> str:
    """The radionuclide, e.g. `F-18`, by code, then by the texts; empty if none is known.

    Args:
        codes: (0054,0300) Radionuclide Code Sequence: code values and meanings.
        tracer: (0018,0031) Radiopharmaceutical.
    """
    for text in codes:
        if text in NUCLIDE_CODES:
            return NUCLIDE_CODES[text]
    meanings = [text for text in codes if not _CODE.match(text)]
    return _named(" ".join(meanings)) or _named(tracer)


def _named(text: str) -> str:
    """The nuclide that a text names: `^18^Fluorine`, `F-18`, `68Ga-DOTATATE`, `FDG`."""
    lower = text.lower()
    found: list[tuple[int, str]] = []
    for name in HALF_LIFE_S:
        symbol, mass = name.split("-")
        element = rf"(?:{symbol.lower()}|{ELEMENTS[symbol]})"
        # No digit may lie beside the number: 18F is not 118F. After a blank the element stands alone: the 11 of
        # PSMA-11 (compounded) is no mass of carbon.
        forms = (
            rf"{element}[^a-z0-9]*{mass}(?!\d)",
            rf"(?<!\d){mass}(?:[^a-z0-9\s]*{element}|[^a-z0-9]*{element}(?![a-z]))",
        )
        found += [(match.start(), name) for form in forms if (match := re.search(form, lower))]
    if found:
        # The first in the text: what follows may be a number of the molecule, as in 68Ga-PSMA-11.
        return min(found, key=lambda entry: entry[0])[1]
    squeezed = "".join(c for c in lower if c.isalnum())
    return "F-18" if "fdg" in squeezed or "fluor" in squeezed else ""


def usable_half_life(written_s: float | None, codes: Sequence[str], tracer: str) -> HalfLife:
    """Half-life, checked against the radionuclide.

    Args:
        written_s: (0018,1075) Radionuclide Half Life.
        codes: (0054,0300) Radionuclide Code Sequence: code values and meanings.
        tracer: (0018,0031) Radiopharmaceutical.

    Raises:
        SuvError: Missing with no known radionuclide, impossible, or another nuclide's.
    """
    nuclide = nuclide_of(codes, tracer)
    known_s = HALF_LIFE_S.get(nuclide)
    if written_s is None:
        half_life = _of_nuclide(nuclide, known_s)
    elif written_s <= 0:
        raise SuvError(
            "impossible half-life", where=_WHERE, expected="a positive time", got=f"{written_s:g} s"
        )
    elif known_s is None:
        half_life = _of_unknown_nuclide(written_s, codes)
    else:
        _require_same(written_s, known_s, nuclide)
        half_life = HalfLife(written_s, SuvAudit())
    return HalfLife(half_life.seconds, _tracer_audit(tracer, nuclide) + half_life.audit)


def _of_nuclide(nuclide: str, known_s: float | None) -> HalfLife:
    """The half-life of a radionuclide where none is written."""
    if known_s is None:
        raise SuvError(
            "missing half-life, and the radionuclide is not known",
            where=f"{_WHERE}, (0054,0300) Radionuclide Code Sequence",
            expected="seconds",
        )
    assumption = f"half-life of {nuclide}, {known_s:g} s, as (0018,1075) is absent"
    return HalfLife(known_s, SuvAudit(assumptions=(assumption,)))


def _of_unknown_nuclide(written_s: float, codes: Sequence[str]) -> HalfLife:
    """A half-life whose nuclide is not known: it must be some PET nuclide's."""
    likely = [name for name, known_s in HALF_LIFE_S.items() if _same(written_s, known_s)]
    if not likely:
        in_minutes = [name for name, known_s in HALF_LIFE_S.items() if _same(written_s * 60.0, known_s)]
        raise SuvError(
            "no known radionuclide is named, and the half-life is none of those used in PET",
            where=f"{_WHERE}, (0054,0300) Radionuclide Code Sequence",
            expected=f"seconds, e.g. {HALF_LIFE_S['F-18']:g} for F-18",
            got=f"{written_s:g}"
            + (f" (minutes of {in_minutes[0]}?)" if in_minutes else "")
            + (f", radionuclide {' '.join(codes)}" if codes else ""),
            action="correct the half-life, or name the radionuclide",
        )
    assumption = f"half-life {written_s:g} s taken as written: it is that of {likely[0]}"
    flags = (
        ()
        if likely[0] == "F-18"
        else (f"no radionuclide is named, and the half-life is that of {likely[0]}",)
    )
    return HalfLife(written_s, SuvAudit(assumptions=(assumption,), flags=flags))


def _require_same(written_s: float, known_s: float, nuclide: str) -> None:
    if _same(written_s, known_s):
        return
    minutes = " (minutes?)" if _same(written_s * 60.0, known_s) else ""
    raise SuvError(
        "the half-life is not the radionuclide's",
        where=_WHERE,
        expected=f"{known_s:g} s for {nuclide}",
        got=f"{written_s:g} s{minutes}",
        action="correct the half-life or the radionuclide",
    )


def _same(written_s: float, known_s: float) -> bool:
    return abs(written_s / known_s - 1.0) <= _TOLERANCE


def _tracer_audit(tracer: str, nuclide: str) -> SuvAudit:
    """Flag a tracer's name that names another radionuclide."""
    named = _named(tracer)
    if not named or not nuclide or named == nuclide:
        return SuvAudit()
    flag = f"(0018,0031) Radiopharmaceutical names {named}, the radionuclide is {nuclide}"
    return SuvAudit(flags=(flag,))
