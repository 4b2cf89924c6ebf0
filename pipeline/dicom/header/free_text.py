"""Texts that somebody typed: shown, or with everything hashed or dropped that is no word of the field.

Names of ROIs, scanners, tracers and contrast agents may hold a patient's name (PS3.15 E.3: clean
descriptors). Words that this file lists, short numbers and codes of the standard identify nobody.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.errors import printable
from pipeline.settings.base import FreeText

LONGEST = 64
"""Characters of a text that are shown."""
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
"""(0054,0300) code values: SNM3/SRT C-1xxxx and SNOMED CT (PS3.16 CID 4020)."""
_WORDS = frozenset(
    word
    for line in (
        "ge gems general electric medical systems healthcare siemens healthineers philips uih united imaging canon",
        "toshiba hitachi mediso cti cps adac neusoft shimadzu elscint picker marconi sofie vendor sedecal minfound",
        "discovery advance rx st ste vct mi iq gen2 omni legend signa lightspeed revolution optima biograph mct",
        "vision quadra horizon truepoint hirez sensation emotion definition somatom ecat exact hr+ hr accel",
        "allegro gemini ingenuity vereos tf gxl big bore umi uexplorer umr celesteion cartesion prime aquilion",
        "aquiduo anyscan phantom pet ct",
        "fluorine fluor fluoro carbon nitrogen oxygen gallium copper rubidium zirconium iodine yttrium bromine",
        "lutetium germanium scandium fdg fluorodeoxyglucose deoxyglucose deoxy glucose fludeoxyglucose flt fmiso",
        "misonidazole faza fet fch choline fes estradiol naf sodium fluoride psma dcfpyl pylarify dotatate dotatoc",
        "dotanoc fapi pentixafor acetate methionine dopa fdopa flutemetamol florbetapir florbetaben fluciclovine",
        "trastuzumab ammonia water rb chloride solution tracer",
        "standard std soft tissue bone lung chst chest detail edge smooth sharp br br40 brain body",
        "omnipaque ultravist visipaque iomeron xenetix isovue optiray imeron accupaque oral iv contrast none yes no",
        "hfs hfp ffs ffp hfdr hfdl ffdr ffdl",
        "bqml cnts gml cm2ml propcps propcnts cps none percent pcnt unknown bw lbm bsa ibw lbmjames128 lbmjanma",
        "start admin m f o attn decy scat norm dtim mott rans radl dcal rand srand psf tof unreadable",
    )
    for word in line.split()
)
_SHORT_CODE = re.compile(
    r"(?:\d{1,3}(?:\.\d{1,2})?|[a-z]{1,2}\d{2}[a-z]{0,2}|\d{2,3}[a-z]{1,2}|[+-]\d{4})", re.IGNORECASE
)
_ZONE = re.compile(r"[+-]\d{4}")
_TOKENS = re.compile(r"[A-Za-z0-9+.]+")


def shown_name(text: str, how: FreeText, stand_in: str) -> str:
    """A name, such as that of an ROI, as messages and results call it.

    Args:
        text: The name as written.
        how: `show`: cleaned of what a terminal obeys; `hash`: the first 8 digits of its
            SHA-256, which tells names apart (whoever guesses a name can check the guess); `drop`: none of it.
        stand_in: What takes the place of a dropped name.
    """
    if how == "show":
        return printable(text, LONGEST)
    return _hashed(text) if how == "hash" else stand_in


def shown_text(text: str, how: FreeText) -> str:
    """A text of a header; unless it is to be shown, only the words that identify nobody stay."""
    if how == "show" or not text:
        return printable(text, LONGEST)
    if text in NUCLIDE_CODES:
        return text
    tokens = _TOKENS.findall(text)
    known = [token for token in tokens if _is_known(token)]
    if len(known) == len(tokens) and text.isascii():
        return text
    rest = [_hashed(text)] if how == "hash" else []
    return " ".join([*known, *rest])


def shown_header(header: PetHeader, how: FreeText) -> PetHeader:
    """A PET header whose texts are shown as a study asks; what an SUV depends on stays."""
    return replace(
        header,
        units=shown_text(header.units, how),
        suv_type=shown_text(header.suv_type, how),
        decay_correction=shown_text(header.decay_correction, how),
        corrected_image=tuple(shown_text(text, how) for text in header.corrected_image),
        manufacturer=shown_text(header.manufacturer, how),
        model=shown_text(header.model, how),
        timezone=header.timezone if _ZONE.fullmatch(header.timezone) else "",  # any other text is no zone
        sex=shown_text(header.sex, how),
        radiopharmaceutical=shown_text(header.radiopharmaceutical, how),
        radionuclide=tuple(shown_text(text, how) for text in header.radionuclide),
    )


def _is_known(token: str) -> bool:
    return token.lower().strip(".") in _WORDS or bool(_SHORT_CODE.fullmatch(token))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
