"""What must hold before a PET header can give a standardised uptake value."""

from __future__ import annotations

from pipeline.dicom.header.pet_header import PetHeader, SuvAudit
from pipeline.dicom.pet.radionuclide import nuclide_of
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

KNOWN_UNITS = ("BQML", "CNTS", "GML")
_DOSE_BQ = (1e6, 1e10)
# Below 25 a number may be millicuries as well (an adult gets 5 to 20 mCi of FDG).
_DOSE_MBQ = (25.0, 10_000.0)
_WEIGHT_KG = (1.0, 500.0)
# A weight of at most so many kg beside a height of at least so many m.
_SWAPPED = (2.5, 25.0)
_HEIGHT_CM = (30.0, 260.0)
_BODY_MASS_INDEX = (9.0, 90.0)
# FDG is given at 2 to 7 MBq/kg (EANM 2.0, SNMMI 1.0); long fields of view ask for a tenth.
_F18_MBQ_KG = (0.2, 20.0)


def require_usable(header: PetHeader) -> None:
    """Refuse a header that cannot give an SUV, naming everything that is missing at once.

    Raises:
        SuvError: Units, weight or dose missing; values that differ from slice to slice;
            no attenuation correction; decay fields that contradict each other.
    """
    if header.differing:
        raise SuvError(
            "header values differ from slice to slice within one PET series",
            where=", ".join(header.differing),
            expected="one value for the series",
            action="separate the series",
        )
    _require_known_units(header)
    if header.corrected_image and "ATTN" not in header.corrected_image:
        raise SuvError(
            "the PET is not corrected for attenuation",
            where="(0028,0051) Corrected Image",
            expected="ATTN among the corrections",
            got="\\".join(header.corrected_image),
            action="use the attenuation-corrected reconstruction",
        )


def _require_known_units(header: PetHeader) -> None:
    missing = header.missing_values()
    if missing:
        raise SuvError(
            "header values that an SUV needs are missing or unreadable",
            where="PET headers",
            expected="units, weight and dose",
            got="no " + ", no ".join(missing),
            action="take them from the scanner's records and write them into the DICOM",
        )
    if header.units not in KNOWN_UNITS:
        raise SuvError(
            "PET units that cannot be converted to SUV",
            where="(0054,1001) Units",
            expected=", ".join(KNOWN_UNITS),
            got=header.units,
        )


def usable_weight(header: PetHeader) -> float:
    """Body weight in kg.

    Raises:
        SuvError: Missing or impossible.
    """
    weight = header.weight_kg
    if weight is not None and weight <= _SWAPPED[0] and (header.height_m or 0) >= _SWAPPED[1]:
        raise SuvError(
            "weight and height look swapped",
            where="(0010,1030) Patient's Weight, (0010,1020) Patient's Size",
            expected="kg and m",
            got=f"{weight:g} kg and {header.height_m:g} m",
            action="correct them; no weight is assumed",
        )
    if weight is None or not _WEIGHT_KG[0] <= weight <= _WEIGHT_KG[1]:
        grams = weight is not None and _WEIGHT_KG[1] < weight <= 1000 * _WEIGHT_KG[1]
        raise SuvError(
            "missing or impossible weight",
            where="(0010,1030) Patient's Weight",
            expected=f"{_WEIGHT_KG[0]:g} to {_WEIGHT_KG[1]:g} kg",
            got="none" if weight is None else f"{weight:g}" + (" (grams?)" if grams else " kg"),
            action="take it from the patient's records; no weight is assumed",
        )
    return weight


def flag_odd_measures(header: PetHeader, trace: SuvAudit) -> None:
    """Flag a weight that the height contradicts, and a dose that the weight does.

    SUVbw needs no height, so that a wrong one is no reason to refuse; a digit lost in either
    weight or dose shows here and nowhere else.
    """
    weight, height, dose = header.weight_kg, header.height_m, header.total_dose_bq
    if not weight or weight <= 0:
        return
    if height is not None and _HEIGHT_CM[0] <= height <= _HEIGHT_CM[1]:
        height /= 100.0
    if height is not None and 0.3 <= height <= 2.6:
        index = weight / height**2
        if not _BODY_MASS_INDEX[0] <= index <= _BODY_MASS_INDEX[1]:
            trace.flags.append(
                f"weight {weight:g} kg and height {height:g} m make a body mass index of {index:.1f}"
            )
    if nuclide_of(header) == "F-18" and dose is not None and dose >= _DOSE_BQ[0]:
        each = dose / 1e6 / weight
        if not _F18_MBQ_KG[0] <= each <= _F18_MBQ_KG[1]:
            trace.flags.append(f"dose of {dose / 1e6:g} MBq is {each:.3g} MBq per kg of body weight")


def usable_dose(header: PetHeader, settings: SuvSettings, trace: SuvAudit) -> float:
    """Injected activity in Bq.

    Raises:
        SuvError: Missing, impossible, or in MBq where Bq belongs (unless the settings
            allow reading it so).
    """
    dose = header.total_dose_bq
    where = "(0018,1074) Radionuclide Total Dose"
    if header.radiopharmaceutical_items > 1:
        raise SuvError(
            "several radiopharmaceuticals",
            where="(0054,0016) Radiopharmaceutical Information Sequence",
            expected="one item",
            got=str(header.radiopharmaceutical_items),
        )
    if dose is None:
        raise SuvError("missing or unreadable dose", where=where, expected="the activity in Bq", got="none")
    if _DOSE_BQ[0] <= dose <= _DOSE_BQ[1]:
        return dose
    if _DOSE_MBQ[0] <= dose <= _DOSE_MBQ[1]:
        if settings.dose_in_mbq == "convert":
            trace.assumptions.append(f"dose of {dose:g} read as MBq by suv.dose_in_mbq (Bq belong there)")
            return dose * 1e6
        raise SuvError(
            "the dose looks like MBq where Bq belongs",
            where=where,
            expected=f"{_DOSE_BQ[0]:g} to {_DOSE_BQ[1]:g} Bq",
            got=f"{dose:g}",
            action="correct it, or set suv.dose_in_mbq: convert",
        )
    raise SuvError(
        "impossible dose",
        where=where,
        expected=f"{_DOSE_BQ[0]:g} to {_DOSE_BQ[1]:g} Bq",
        got=f"{dose:g}",
        action="correct it: kBq, mCi or Ci do not belong there" if dose > 0 else "",
    )
