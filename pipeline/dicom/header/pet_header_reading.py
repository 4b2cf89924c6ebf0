"""PET headers as pydicom reads them, turned into one :class:`PetHeader`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from pydicom.dataset import Dataset

from pipeline.dicom.header.dicom_time import (
    HALF_DAY_S,
    PetSlice,
    parse_date_and_time,
    read_frame,
    read_slice,
)
from pipeline.dicom.header.frames import (
    corrections_of,
    frame_values,
    with_converted_attributes,
    without_attenuation_correction,
)
from pipeline.dicom.header.pet_header import GE_NAMES, PetHeader
from pipeline.dicom.header.values import (
    items_of,
    number_of,
    one_text_of,
    parse_number,
    private_text,
    private_value,
    text_of,
)

_ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"


_DOSES_MBQ = (0.1, 1e5)


_PHILIPS = re.compile(r"philips\b", re.IGNORECASE)


_PRIVATE = {
    "ge_scan_datetime": (0x0009, 0x0D, "GEMS_PETD_01", GE_NAMES),
    "philips_suv_factor": (0x7053, 0x00, "Philips PET Private Group", _PHILIPS),
    "philips_activity_factor": (0x7053, 0x09, "Philips PET Private Group", _PHILIPS),
}


_ROUNDED_HALF_LIFE = 0.0005  # 6588 for 6586.2 s, 0.02 % of SUV after an hour
# An SUV depends on none of them; times are compared slice by slice elsewhere.
_MAY_DIFFER = {"slices", "differing", "model", "series_time", "ge_scan_datetime", "siemens_decay_datetime"}


@dataclass(frozen=True)
class SliceHeader:
    """Headers of one file: the series' part, and one entry per frame."""

    series: PetHeader
    slices: tuple[PetSlice, ...]


def slice_header(dataset: Dataset) -> SliceHeader:
    """Read what SUV needs from one PET file, classic (PS3.3 C.8.9) or enhanced (C.8.22)."""
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items_of(dataset, "SharedFunctionalGroupsSequence")
    whole = with_converted_attributes(dataset, shared, groups)
    drug = (items_of(whole, "RadiopharmaceuticalInformationSequence") or [Dataset()])[0]
    series = _series_part(whole, drug)
    if not groups:
        return SliceHeader(series, (read_slice(dataset),))
    return SliceHeader(_enhanced_part(dataset, series), tuple(read_frame(group, shared) for group in groups))


def _enhanced_part(dataset: Dataset, series: PetHeader) -> PetHeader:
    """Units of the frames; decay correction by its flag and time."""
    values = frame_values(dataset)
    corrected = text_of(dataset, "DecayCorrected").upper()
    return replace(
        series,
        units=values[0].units or series.units,
        suv_type=values[0].suv_type or series.suv_type,
        decay_correction=series.decay_correction or _decay_kind(corrected, series.decay_datetime),
        differing=("units",) if len({v.units for v in values}) > 1 else (),
    )


def _decay_kind(corrected: str, decay_datetime: str) -> str:
    """(0054,1102) in the terms of (0018,9758); corrected to an unknown time is no kind."""
    if corrected == "YES":
        return "START" if decay_datetime else ""
    return "NONE" if corrected == "NO" else ""


def _series_part(dataset: Dataset, drug: Dataset) -> PetHeader:
    private = _private_part(dataset)
    return PetHeader(
        slices=(),
        units=one_text_of(dataset, "Units").upper(),
        suv_type=one_text_of(dataset, "SUVType").upper(),
        decay_correction=one_text_of(dataset, "DecayCorrection").upper(),
        corrected_image=corrections_of(dataset),
        unattenuated=without_attenuation_correction(dataset),
        manufacturer=text_of(dataset, "Manufacturer"),
        model=text_of(dataset, "ManufacturerModelName"),
        series_date=one_text_of(dataset, "SeriesDate"),
        series_time=one_text_of(dataset, "SeriesTime"),
        timezone=one_text_of(dataset, "TimezoneOffsetFromUTC"),
        weight_kg=number_of(dataset, "PatientWeight"),
        height_m=number_of(dataset, "PatientSize"),
        sex=one_text_of(dataset, "PatientSex").upper(),
        radiopharmaceutical=text_of(drug, "Radiopharmaceutical"),
        radionuclide=_radionuclide(drug),
        half_life_s=number_of(drug, "RadionuclideHalfLife"),
        total_dose_bq=_dose_bq(dataset, drug),
        injection_datetime=one_text_of(drug, "RadiopharmaceuticalStartDateTime"),
        injection_time=one_text_of(drug, "RadiopharmaceuticalStartTime"),
        decay_datetime=one_text_of(dataset, "DecayCorrectionDateTime"),
        siemens_decay_datetime=private_value(dataset, 0x0071, 0x22, "SIEMENS MED PT"),
        ge_scan_datetime=private.ge_scan_datetime,
        philips_suv_factor=parse_number(private.philips_suv_factor),
        philips_activity_factor=parse_number(private.philips_activity_factor),
        without_creator=private.without_creator,
        radiopharmaceutical_items=_distinct(items_of(dataset, "RadiopharmaceuticalInformationSequence")),
    )


def _dose_bq(dataset: Dataset, drug: Dataset) -> float | None:
    """(0018,1074) in Bq; of an Enhanced PET it is in MBq, where it isn't written in Bq all the same."""
    dose = number_of(drug, "RadionuclideTotalDose")
    if dose is None or text_of(dataset, "SOPClassUID") != _ENHANCED_PET:
        return dose
    low, high = _DOSES_MBQ
    return dose * 1e6 if low <= dose < high else dose


def dose_unit_warning(dataset: Dataset) -> str:
    """What to tell of an Enhanced PET whose dose is not in MBq, as the standard wants it; else empty."""
    if text_of(dataset, "SOPClassUID") != _ENHANCED_PET:
        return ""
    drugs = items_of(dataset, "RadiopharmaceuticalInformationSequence")
    dose = number_of(drugs[0], "RadionuclideTotalDose") if drugs else None
    if dose is None or dose < _DOSES_MBQ[1]:
        return ""
    return "(0018,1074) of this Enhanced PET is taken as Bq; the standard has MBq there (PS3.3 C.8.22.4)"


def lossy_warning(dataset: Dataset) -> str:
    """What to tell of an image whose values a lossy compression changed; else empty."""
    if text_of(dataset, "LossyImageCompression").strip() != "01":
        return ""
    return "PET series: (0028,2110) says that a lossy compression changed its values; SUV may be off by some percent"


def _distinct(drugs: Sequence[Dataset]) -> int:
    """Items of (0054,0016) that differ in what an SUV depends on; a repeated one counts once."""
    keywords = ("RadionuclideTotalDose", "RadionuclideHalfLife", "Radiopharmaceutical",
                "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")  # fmt: skip
    return len({(*(text_of(drug, name) for name in keywords), _radionuclide(drug)) for drug in drugs})


@dataclass(frozen=True)
class _PrivatePart:
    """Private elements of GE and Philips as texts, and those whose creator is absent."""

    ge_scan_datetime: str
    philips_suv_factor: str
    philips_activity_factor: str
    without_creator: tuple[str, ...]


def _private_part(dataset: Dataset) -> _PrivatePart:
    """Private elements by their creator; without any creator by their usual place.

    De-identification may drop a creator, such as (7053,0010), and leave its elements. They are
    accepted only where the manufacturer is the one that writes them, and no creator claims the block.
    """
    maker = text_of(dataset, "Manufacturer").strip()
    texts: dict[str, str] = {}
    without: list[str] = []
    for name, (group, element, creator, makers) in _PRIVATE.items():
        texts[name] = private_value(dataset, group, element, creator)
        if not texts[name] and (group << 16 | 0x0010) not in dataset and makers.match(maker):
            texts[name] = private_text(dataset, group << 16 | 0x1000 | element)
            without += [name] if texts[name] else []
    return _PrivatePart(**texts, without_creator=tuple(without))


def _radionuclide(drug: Dataset) -> tuple[str, ...]:
    codes = items_of(drug, "RadionuclideCodeSequence")
    return tuple(t for code in codes for t in (text_of(code, "CodeValue"), text_of(code, "CodeMeaning")) if t)


def merge_headers(headers: Sequence[SliceHeader]) -> PetHeader:
    """One header for a series; what differs from slice to slice is named in `differing`."""
    first = headers[0].series
    made = _first_made([header.series for header in headers])
    differing = [
        name
        for name in (entry.name for entry in fields(PetHeader))
        if name not in _MAY_DIFFER and any(not _agree(header.series, first, name) for header in headers[1:])
    ]
    return replace(
        first,
        slices=tuple(entry for header in headers for entry in header.slices),
        series_date=made.series_date,
        series_time=made.series_time,
        ge_scan_datetime=_earliest([h.series.ge_scan_datetime for h in headers]),
        siemens_decay_datetime=_earliest([h.series.siemens_decay_datetime for h in headers]),
        differing=tuple(dict.fromkeys((*first.differing, *differing))),
    )


def _first_made(headers: Sequence[PetHeader]) -> PetHeader:
    """The header of the earliest series date and time: beds of one scan may each have their own, past midnight, too."""
    timed = [header for header in headers if header.series_time]
    return min(timed, key=lambda header: (header.series_date, header.series_time), default=headers[0])


def _within_one_scan(header: PetHeader, first: PetHeader) -> bool:
    """Whether two series dates, which differ, lie less than half a day apart by their times."""
    one, other = (parse_date_and_time(each.series_date, each.series_time) for each in (header, first))
    if one is None or other is None or one.day is None or other.day is None:
        return False
    return abs(one.seconds_since(other)) < HALF_DAY_S


def _agree(header: PetHeader, first: PetHeader, name: str) -> bool:
    """Whether two slices say the same of what an SUV depends on."""
    if name == "corrected_image":  # scatter and others may be named in one slice alone
        return not {"ATTN", "DECY"} & set(header.corrected_image).symmetric_difference(first.corrected_image)
    one, other = getattr(header, name), getattr(first, name)
    if name == "series_date" and one != other:
        return _within_one_scan(header, first)
    if name == "half_life_s" and one and other:  # rounded differently: 6586.2 and 6588 s of F-18
        return math.isclose(one, other, rel_tol=_ROUNDED_HALF_LIFE)
    return bool(one == other)


def _earliest(texts: Sequence[str]) -> str:
    """The earliest of times written in one form; beds of one scan may each carry their own."""
    return min((text for text in texts if text), default="")
