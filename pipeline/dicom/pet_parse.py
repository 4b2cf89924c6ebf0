"""PET headers as pydicom reads them, turned into one :class:`PetHeader`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from pydicom.dataset import Dataset

from pipeline.dicom.header_values import (
    items_of,
    number_of,
    parse_number,
    private_value,
    text_of,
    texts_of,
)
from pipeline.dicom.pet_header import PetHeader, PetSlice
from pipeline.dicom.volume_frames import frame_values, functional_group

# Values that may differ between slices of one sound series: the header keeps one for all.
_MAY_DIFFER = {"slices", "differing", "series_time", "ge_scan_datetime", "siemens_decay_datetime"}


@dataclass(frozen=True)
class SliceHeader:
    """Headers of one file: the series' part, and one entry per frame."""

    series: PetHeader
    slices: tuple[PetSlice, ...]


def slice_header(dataset: Dataset) -> SliceHeader:
    """Read what SUV needs from one PET file, classic (PS3.3 C.8.9) or enhanced (C.8.22)."""
    drug = (items_of(dataset, "RadiopharmaceuticalInformationSequence") or [Dataset()])[0]
    series = _series_part(dataset, drug)
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    if not groups:
        return SliceHeader(series, (_slice_part(dataset),))
    shared = items_of(dataset, "SharedFunctionalGroupsSequence")
    return SliceHeader(_enhanced_part(dataset, series), tuple(_frame_part(group, shared) for group in groups))


def _enhanced_part(dataset: Dataset, series: PetHeader) -> PetHeader:
    """Units of the frames; decay correction by its flag and moment."""
    values = frame_values(dataset)
    corrected = text_of(dataset, "DecayCorrected").upper()
    return replace(
        series,
        units=values[0].units or series.units,
        suv_type=values[0].suv_type or series.suv_type,
        decay_correction=series.decay_correction or {"YES": "START", "NO": "NONE"}.get(corrected, ""),
        differing=("units",) if len({v.units for v in values}) > 1 else (),
    )


def _frame_part(group: Dataset, shared: list[Dataset]) -> PetSlice:
    content = functional_group(group, shared, "FrameContentSequence")
    moment = text_of(content, "FrameAcquisitionDateTime")
    return PetSlice(
        acquisition_date=moment[:8],
        acquisition_time=_clock(moment),
        frame_duration_ms=number_of(content, "FrameAcquisitionDuration"),
    )


def _clock(moment: str) -> str:
    """Time of day of a DT value, without its zone."""
    return moment[8:].split("+")[0].split("-")[0]


def corrections_of(dataset: Dataset) -> tuple[str, ...]:
    """(0028,0051) Corrected Image, or what an enhanced PET's flags say in its terms."""
    listed = tuple(t.upper() for t in texts_of(dataset, "CorrectedImage") if t)
    flags = (("AttenuationCorrected", "ATTN"), ("DecayCorrected", "DECY"))
    said = {name: text_of(dataset, keyword).upper() for keyword, name in flags}
    if listed or not any(said.values()):
        return listed
    # Both flags are of type 1; an object without any correction still says something.
    return tuple(name for name, value in said.items() if value == "YES") or ("NONE",)


def _slice_part(dataset: Dataset) -> PetSlice:
    moment = text_of(dataset, "AcquisitionDateTime")
    return PetSlice(
        acquisition_date=text_of(dataset, "AcquisitionDate") or moment[:8],
        acquisition_time=text_of(dataset, "AcquisitionTime") or _clock(moment),
        frame_reference_ms=number_of(dataset, "FrameReferenceTime"),
        frame_duration_ms=number_of(dataset, "ActualFrameDuration"),
    )


def _series_part(dataset: Dataset, drug: Dataset) -> PetHeader:
    return PetHeader(
        slices=(),
        units=text_of(dataset, "Units").upper(),
        suv_type=text_of(dataset, "SUVType").upper(),
        decay_correction=text_of(dataset, "DecayCorrection").upper(),
        corrected_image=corrections_of(dataset),
        manufacturer=text_of(dataset, "Manufacturer"),
        model=text_of(dataset, "ManufacturerModelName"),
        series_date=text_of(dataset, "SeriesDate"),
        series_time=text_of(dataset, "SeriesTime"),
        timezone=text_of(dataset, "TimezoneOffsetFromUTC"),
        weight_kg=number_of(dataset, "PatientWeight"),
        height_m=number_of(dataset, "PatientSize"),
        sex=text_of(dataset, "PatientSex").upper(),
        radiopharmaceutical=text_of(drug, "Radiopharmaceutical"),
        radionuclide=_radionuclide(drug),
        half_life_s=number_of(drug, "RadionuclideHalfLife"),
        total_dose_bq=number_of(drug, "RadionuclideTotalDose"),
        injection_datetime=text_of(drug, "RadiopharmaceuticalStartDateTime"),
        injection_time=text_of(drug, "RadiopharmaceuticalStartTime"),
        decay_datetime=text_of(dataset, "DecayCorrectionDateTime"),
        siemens_decay_datetime=private_value(dataset, 0x0071, 0x22, "SIEMENS MED PT"),
        ge_scan_datetime=private_value(dataset, 0x0009, 0x0D, "GEMS_PETD_01"),
        philips_suv_factor=_philips(dataset, 0x00),
        philips_activity_factor=_philips(dataset, 0x09),
        radiopharmaceutical_items=len(items_of(dataset, "RadiopharmaceuticalInformationSequence")),
    )


def _philips(dataset: Dataset, element: int) -> float | None:
    return parse_number(private_value(dataset, 0x7053, element, "Philips PET Private Group"))


def _radionuclide(drug: Dataset) -> tuple[str, ...]:
    codes = items_of(drug, "RadionuclideCodeSequence")
    return tuple(t for code in codes for t in (text_of(code, "CodeValue"), text_of(code, "CodeMeaning")) if t)


def merge_headers(headers: Sequence[SliceHeader]) -> PetHeader:
    """One header for a series; what differs from slice to slice is named in `differing`."""
    first = headers[0].series
    differing = [
        field.name
        for field in fields(PetHeader)
        if field.name not in _MAY_DIFFER
        and any(getattr(h.series, field.name) != getattr(first, field.name) for h in headers[1:])
    ]
    return replace(
        first,
        slices=tuple(entry for header in headers for entry in header.slices),
        series_time=_earliest([h.series.series_time for h in headers]),
        ge_scan_datetime=_earliest([h.series.ge_scan_datetime for h in headers]),
        siemens_decay_datetime=_earliest([h.series.siemens_decay_datetime for h in headers]),
        differing=tuple(dict.fromkeys((*first.differing, *differing))),
    )


def _earliest(texts: Sequence[str]) -> str:
    """The earliest of times written in one form; beds of one scan may each carry their own."""
    return min((text for text in texts if text), default="")
