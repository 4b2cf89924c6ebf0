"""Which radionuclide a PET header names, and whether its half-life fits."""

from __future__ import annotations

import re

from pipeline.dicom.decay import ELEMENTS, HALF_LIFE_S, NUCLIDE_CODES
from pipeline.dicom.pet_header import PetHeader
from pipeline.dicom.suv_trace import Trace
from pipeline.errors import SuvError

# Scanners round: F-18 is written as 6586.2, 6588 and 6600 (0.2 % of half-life is 0.1 % of SUV).
_TOLERANCE = 0.01
_CODE = re.compile(r"^(C-[0-9A-F]{5}|\d+)$")
_WHERE = "(0018,1075) Radionuclide Half Life"


def nuclide_of(header: PetHeader) -> str:
    """The radionuclide, e.g. `F-18`, by code, then by the texts; empty if none is known."""
    for text in header.radionuclide:
        if text in NUCLIDE_CODES:
            return NUCLIDE_CODES[text]
    meanings = [text for text in header.radionuclide if not _CODE.match(text)]
    return _named(" ".join(meanings)) or _named(header.radiopharmaceutical)


def _named(text: str) -> str:
    """The nuclide that a text names: `^18^Fluorine`, `F-18`, `68Ga-DOTATATE`, `FDG`."""
    squeezed = "".join(c for c in text.lower() if c.isalnum())
    for name in HALF_LIFE_S:
        symbol, mass = name.split("-")
        for element in (symbol.lower(), ELEMENTS[symbol]):
            # No digit may lie beside the number: 18F is no 118F.
            if re.search(rf"{element}{mass}(?!\d)|(?<!\d){mass}{element}", squeezed):
                return name
    return "F-18" if "fdg" in squeezed or "fluor" in squeezed else ""


def usable_half_life(header: PetHeader, trace: Trace) -> float:
    """Half-life in seconds, checked against the radionuclide.

    Raises:
        SuvError: Missing with no known radionuclide, impossible, or another nuclide's.
    """
    nuclide, written = nuclide_of(header), header.half_life_s
    _flag_other_tracer(header, nuclide, trace)
    known = HALF_LIFE_S.get(nuclide)
    if written is None:
        if known is None:
            raise SuvError(
                "missing half-life, and the radionuclide is not known",
                where=f"{_WHERE}, (0054,0300) Radionuclide Code Sequence",
                expected="seconds",
            )
        trace.assumptions.append(f"half-life of {nuclide}, {known:g} s, as (0018,1075) is absent")
        return known
    if written <= 0:
        raise SuvError("impossible half-life", where=_WHERE, expected="a positive time", got=f"{written:g} s")
    if known is None:
        return _of_unknown(header, written, trace)
    if not _same(written, known):
        minutes = " (minutes?)" if _same(written * 60.0, known) else ""
        raise SuvError(
            "the half-life is not the radionuclide's",
            where=_WHERE,
            expected=f"{known:g} s for {nuclide}",
            got=f"{written:g} s{minutes}",
            action="correct the half-life or the radionuclide",
        )
    return written


def _of_unknown(header: PetHeader, written: float, trace: Trace) -> float:
    """A half-life whose nuclide is not known: some PET nuclide's, or one that the header names."""
    likely = [name for name, known in HALF_LIFE_S.items() if _same(written, known)]
    if likely:
        trace.assumptions.append(f"half-life {written:g} s taken as written: it is that of {likely[0]}")
        return written
    if not header.radionuclide:
        raise SuvError(
            "no radionuclide is named, and the half-life is none of those used in PET",
            where=f"{_WHERE}, (0054,0300) Radionuclide Code Sequence",
            expected=f"seconds, e.g. {HALF_LIFE_S['F-18']:g} for F-18",
            got=f"{written:g}",
            action="correct the half-life, or name the radionuclide",
        )
    trace.assumptions.append(f"half-life {written:g} s taken as written: the radionuclide is not known")
    return written


def _same(written: float, known: float) -> bool:
    return abs(written / known - 1.0) <= _TOLERANCE


def _flag_other_tracer(header: PetHeader, nuclide: str, trace: Trace) -> None:
    tracer = _named(header.radiopharmaceutical)
    if tracer and nuclide and tracer != nuclide:
        trace.flags.append(f"(0018,0031) Radiopharmaceutical names {tracer}, the radionuclide is {nuclide}")
