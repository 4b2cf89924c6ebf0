"""What must hold before a PET header can give a standardised uptake value; anything else is refused."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.dicom.header.dicom_time import PetTimes
from pipeline.dicom.header.pet_header import PetHeader, SuvAudit
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

KNOWN_UNITS = ("BQML", "CNTS", "GML", "CM2ML")
LEAST_DOSE_BQ, _MOST_DOSE_BQ = 1e6, 1e10
_DOSE_MBQ = (1.0, 1e5)
# Units that are written where Bq belong, and the doses per kg that are given of any PET tracer: a
# number is read as MBq where no other of these units makes it a dose (4 MBq/kg of FDG, 20 of Rb-82).
_DOSE_UNITS_BQ = {"MBq": 1e6, "mCi": 37e6, "µCi": 37e3}
_GIVEN_MBQ_KG = (0.5, 30.0)
_WEIGHT_KG = (1.0, 500.0)
# Of a nuclide that lives for days, a scan may count from the injection.
_LONGEST_MS = 30 * 86_400e3
# A weight of at most so many kg beside a height of at least so many m.
_SWAPPED = (2.5, 25.0)


@dataclass(frozen=True)
class Dose:
    """The injected activity, and how it was read."""

    bq: float
    audit: SuvAudit


@dataclass(frozen=True)
class DecayFields:
    """What a header says of the correction for decay.

    Attributes:
        correction: (0054,1102) Decay Correction.
        corrected_image: (0028,0051) Corrected Image.
        factors: (0054,1321) Decay Factor of each slice.
    """

    correction: str
    corrected_image: tuple[str, ...]
    factors: tuple[float | None, ...]


def require_usable(header: PetHeader) -> None:
    """Refuse a header that cannot give an SUV, naming everything that is missing at once.

    Raises:
        SuvError: Units, weight or dose missing; values that differ from slice to slice;
            no attenuation correction.
    """
    if header.differing:
        raise SuvError(
            "header values differ from slice to slice within one PET series",
            where=", ".join(header.differing),
            expected="one value for the series",
            action="separate the series",
        )
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
    if header.unattenuated:
        raise SuvError(
            "the PET is not corrected for attenuation",
            where="(0054,1101) Attenuation Correction Method",
            expected="a method, where (0028,0051) Corrected Image has ATTN or is absent",
            got="none",
            action="use the attenuation-corrected reconstruction, or correct (0054,1101)",
        )
    if header.corrected_image and "ATTN" not in header.corrected_image:
        raise SuvError(
            "the PET is not corrected for attenuation",
            where="(0028,0051) Corrected Image",
            expected="ATTN among the corrections",
            got="\\".join(header.corrected_image),
            action="use the attenuation-corrected reconstruction",
        )


def require_possible_frames(times: PetTimes) -> None:
    """Refuse offsets and durations of frames that no scan has: whatever is computed of them is wrong.

    Raises:
        SuvError: A frame reference time of weeks, or a duration below 0 or of weeks.
    """
    for frame in times.frames:
        reference, lasts = frame.reference_ms, frame.duration_ms
        for milliseconds, least, where in (
            (reference, -_LONGEST_MS, "(0054,1300) Frame Reference Time"),
            (lasts, 0.0, "(0018,1242) Actual Frame Duration"),
        ):
            if milliseconds is not None and not least <= milliseconds <= _LONGEST_MS:
                raise SuvError(
                    "impossible duration of a frame"
                    if milliseconds is lasts
                    else "impossible offset of a frame",
                    where=where,
                    expected=f"{least:g} to {_LONGEST_MS:g} ms",
                    got=f"{milliseconds:g} ms",
                    action="correct it",
                )


def usable_weight(weight_kg: float | None, height_m: float | None) -> float:
    """Body weight in kg.

    Args:
        weight_kg: (0010,1030) Patient's Weight.
        height_m: (0010,1020) Patient's Size, which shows whether the two were swapped.

    Raises:
        SuvError: Missing or impossible.
    """
    if weight_kg is not None and weight_kg <= _SWAPPED[0] and (height_m or 0) >= _SWAPPED[1]:
        raise SuvError(
            "weight and height look swapped",
            where="(0010,1030) Patient's Weight, (0010,1020) Patient's Size",
            expected="kg and m",
            got=f"{weight_kg:g} kg and {height_m:g} m",
            action="correct them; no weight is assumed",
        )
    if weight_kg is None or not _WEIGHT_KG[0] <= weight_kg <= _WEIGHT_KG[1]:
        grams = weight_kg is not None and _WEIGHT_KG[1] < weight_kg <= 1000 * _WEIGHT_KG[1]
        raise SuvError(
            "missing or impossible weight",
            where="(0010,1030) Patient's Weight",
            expected=f"{_WEIGHT_KG[0]:g} to {_WEIGHT_KG[1]:g} kg",
            got="none" if weight_kg is None else f"{weight_kg:g}" + (" (grams?)" if grams else " kg"),
            action="take it from the patient's records; no weight is assumed",
        )
    return weight_kg


def dose_as_read(written: float | None, settings: SuvSettings) -> float | None:
    """(0018,1074) in Bq, of which one far below 1 MBq is one in MBq where the settings read it so."""
    if written is None or written >= LEAST_DOSE_BQ or settings.dose_in_mbq != "convert":
        return written
    return written * 1e6


def usable_dose(written: float | None, weight_kg: float, items: int, settings: SuvSettings) -> Dose:
    """Injected activity.

    Args:
        written: (0018,1074) Radionuclide Total Dose, in Bq unless the file is wrong.
        weight_kg: Body weight, which tells MBq from other units.
        items: Different items of (0054,0016) Radiopharmaceutical Information Sequence.
        settings: Whether a dose in MBq is converted.

    Raises:
        SuvError: Missing, impossible, or in MBq where Bq belongs (unless the settings
            allow reading it so).
    """
    if items > 1:
        raise SuvError(
            "several radiopharmaceuticals",
            where="(0054,0016) Radiopharmaceutical Information Sequence",
            expected="one item",
            got=str(items),
        )
    where = "(0018,1074) Radionuclide Total Dose"
    if written is None:
        raise SuvError("missing or unreadable dose", where=where, expected="the activity in Bq", got="none")
    if LEAST_DOSE_BQ <= written <= _MOST_DOSE_BQ:
        return Dose(written, SuvAudit())
    units = _possible_units(written, weight_kg)
    expected = f"{LEAST_DOSE_BQ:g} to {_MOST_DOSE_BQ:g} Bq"
    if units != ["MBq"]:
        raise SuvError(
            "impossible dose",
            where=where,
            expected=expected,
            got=f"{written:g}" + (f" ({' or '.join(units)}?)" if units else ""),
            action="correct it: kBq, mCi or Ci do not belong there" if written > 0 else "",
        )
    if settings.dose_in_mbq != "convert":
        raise SuvError(
            "the dose looks like MBq where Bq belongs",
            where=where,
            expected=expected,
            got=f"{written:g}",
            action="correct it, or set suv.dose_in_mbq: convert",
        )
    assumption = f"dose of {written:g} read as MBq by suv.dose_in_mbq (Bq belong there)"
    return Dose(written * 1e6, SuvAudit(assumptions=(assumption,)))


def _possible_units(written: float, weight_kg: float) -> list[str]:
    """Units other than Bq in which a number is a dose that somebody gives."""
    if not _DOSE_MBQ[0] <= written <= _DOSE_MBQ[1]:
        return []
    low, high = _GIVEN_MBQ_KG
    return [unit for unit, bq in _DOSE_UNITS_BQ.items() if low <= written * bq / 1e6 / weight_kg <= high]


def require_consistent_decay(fields: DecayFields) -> SuvAudit:
    """Refuse elements that contradict each other about the correction for decay.

    Raises:
        SuvError: Decay correction missing or unknown, or contradicted by other elements.
    """
    correction, corrected_image = fields.correction, fields.corrected_image
    if correction not in ("START", "ADMIN", "NONE"):
        raise SuvError(
            "missing or unknown decay correction",
            where="(0054,1102) Decay Correction",
            expected="START, ADMIN or NONE",
            got=correction or "none",
        )
    applied = [factor for factor in fields.factors if factor is not None and factor not in (0.0, 1.0)]
    if correction == "NONE" and applied:
        raise SuvError(
            "decay fields contradict each other",
            where="(0054,1102) Decay Correction, (0054,1321) Decay Factor",
            expected="factors of 1 where decay was not corrected",
            got=f"NONE with factors up to {max(applied):g}",
        )
    if not corrected_image:
        assumption = "corrections as by (0054,1102): (0028,0051) Corrected Image is absent"
        return SuvAudit(assumptions=(assumption,))
    if ("DECY" in corrected_image) == (correction == "NONE"):
        raise SuvError(
            "decay fields contradict each other",
            where="(0054,1102) Decay Correction, (0028,0051) Corrected Image",
            expected="DECY exactly where decay was corrected",
            got=f"{correction} with " + "\\".join(corrected_image),
        )
    return SuvAudit()


def require_corrected_counts(fields: DecayFields) -> SuvAudit:
    """Refuse counts that are not corrected for decay: their SUV factor is one for all slices.

    Raises:
        SuvError: They are not, or the elements contradict each other.
    """
    audit = SuvAudit()
    if fields.correction:
        audit = require_consistent_decay(fields)
    elif not fields.corrected_image:
        assumption = "counts taken as corrected for decay: (0054,1102), (0028,0051) are absent"
        audit = SuvAudit(assumptions=(assumption,))
    without_decay = fields.corrected_image and "DECY" not in fields.corrected_image
    if fields.correction == "NONE" or without_decay:
        raise SuvError(
            "one SUV factor for counts that were not corrected for decay",
            where="(0054,1102) Decay Correction, (0028,0051) Corrected Image, (7053,xx00)",
            expected="counts corrected for decay",
            got=fields.correction or "no (0054,1102), and (0028,0051) without DECY",
            action="export the decay-corrected reconstruction",
        )
    return audit
