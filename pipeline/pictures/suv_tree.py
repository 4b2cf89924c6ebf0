"""How an SUV comes about: the code's own answers to a header and to others that differ from it in one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.pictures.drawing import BoxShape, Drawing, wrapped
from pipeline.settings.dicom import SuvSettings

EXAMPLE = PetHeader(
    slices=(PetSlice("20200310", "100000"),),
    units="BQML",
    decay_correction="START",
    corrected_image=("NORM", "ATTN", "SCAT", "DECY"),
    manufacturer="VENDOR",
    series_date="20200310",
    series_time="100000",
    weight_kg=70.0,
    height_m=1.75,
    sex="M",
    radionuclide=("C-111A1", "^18^Fluorine"),
    half_life_s=6586.2,
    total_dose_bq=350e6,
    injection_time="090000",
)
"""70 kg, 350 MBq of F-18 injected at 9:00, scanned at 10:00."""
STORED_BQML = 5000.0
"""A voxel of the example."""


@dataclass(frozen=True)
class HeaderCase:
    """A header that differs from the example in some values.

    Attributes:
        units: Words of the first decision, (0054,1001) Units.
        then: Words of what is asked next.
        changes: The values.
    """

    units: str
    then: str
    changes: Mapping[str, Any]


CASES = (
    HeaderCase("BQML", "decay correction START", {}),
    HeaderCase("BQML", "decay correction ADMIN", {"decay_correction": "ADMIN"}),
    HeaderCase(
        "BQML", "decay correction NONE",
        {"decay_correction": "NONE", "corrected_image": ("NORM", "ATTN", "SCAT"),
         "slices": (PetSlice("20200310", "100000", 0.0, 180000.0),)},
    ),
    HeaderCase("BQML", "no dose", {"total_dose_bq": None}),
    HeaderCase("GML", "SUV type BW", {"units": "GML", "suv_type": "BW"}),
    HeaderCase("GML", "SUV type LBM", {"units": "GML", "suv_type": "LBM"}),
    HeaderCase("CNTS", "Philips' activity factor", {"units": "CNTS", "philips_activity_factor": 1.3}),
    HeaderCase("CNTS", "no private factor", {"units": "CNTS"}),
    HeaderCase("PROPCPS", "", {"units": "PROPCPS"}),
)  # fmt: skip
GREEN, RED = "#dcf5e3", "#fbdcdc"


@dataclass(frozen=True)
class HeaderAnswer:
    """What the code says of a header.

    Attributes:
        factor: SUV per stored unit (of the first slice); None: refused.
        words: The steps with their values, or the refusal.
    """

    factor: float | None
    words: tuple[str, ...]


def answer(case: HeaderCase) -> HeaderAnswer:
    """Ask the code that every study asks."""
    try:
        found = suv_factor(replace(EXAMPLE, **case.changes), SuvSettings())
    except SuvError as error:
        action = f"; what to do: {error.action}" if error.action else ""
        return HeaderAnswer(None, (f"{error.problem}: {error.got}{action}",))
    return HeaderAnswer(found.factors[0], found.audit.path)


def draw_suv_tree() -> str:
    """The picture as SVG: units, then what is asked, then the code's answer; the first line is worked out."""
    size, x_units, x_then, x_answer, width = 11.5, 20.0, 190.0, 390.0, 590.0
    answers = [answer(case) for case in CASES]
    texts = [_lines(case, found, width - 20, size) for case, found in zip(CASES, answers, strict=True)]
    heights = [18 + len(lines) * size * 1.35 for lines in texts]
    drawing = Drawing(
        x_answer + width + 20,
        70 + sum(heights) + 12 * len(heights),
        "From a PET header to SUV, or to a refusal",
    )
    heads = (
        (x_units, "(0054,1001) Units"),
        (x_then, "then"),
        (x_answer, "answer (green: converted; red: refused)"),
    )
    for x, words in heads:
        drawing.text(x, 30, words, 13, bold=True)
    y, first = 46.0, {}
    for case, found, lines, height in zip(CASES, answers, texts, heights, strict=True):
        right = BoxShape(x_answer, y, width, height)
        if case.units not in first:
            first[case.units] = BoxShape(x_units, y, 80, 28)
            drawing.box(first[case.units])
            drawing.text(x_units + 40, y + 19, case.units, 12, bold=True, anchor="middle")
        start = first[case.units].right
        if case.then:
            middle = BoxShape(x_then, y, 170, 28)
            drawing.arrow(start, middle.left)
            drawing.box(middle)
            drawing.text(x_then + 85, y + 19, case.then, 12, anchor="middle")
            start = middle.right
        drawing.arrow(start, (x_answer, y + 14))
        drawing.box(right, RED if found.factor is None else GREEN)
        drawing.lines(x_answer + 10, y + 18, lines, size)
        y += height + 12
    return drawing.svg()


def _lines(case: HeaderCase, found: HeaderAnswer, width: float, size: float) -> list[str]:
    """The answer in lines; the factor last, and for the example a voxel worked out."""
    lines = [line for words in found.words for line in wrapped(words, width, size)]
    if found.factor is None:
        return lines
    factor = f"SUV = stored value × {found.factor:.6g}"
    if not case.changes:
        factor += f": a voxel of {STORED_BQML:g} Bq/mL has {STORED_BQML * found.factor:.3f} g/mL"
    return [*lines, factor]
