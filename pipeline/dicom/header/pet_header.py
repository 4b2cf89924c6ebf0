"""PET headers as pydicom reads them, turned into one :class:`PetHeader`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pydicom.dataset import Dataset

from pipeline.dicom.header.values import (
    items_of,
    number_of,
    one_text_of,
    parse_number,
    private_value,
    text_of,
    texts_of,
)
from pipeline.dicom.volume.frames import frame_values, functional_group


@dataclass
class SuvAudit:
    """What was done, what was taken for granted, what looks odd.

    Attributes:
        path: Steps in order, each with the values it used.
        assumptions: What the headers don't say and the standard, a vendor's habit or a
            setting supplied.
        flags: What a person should look at.
    """

    path: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PetSlice:
    """Times of one slice (or frame).

    Attributes:
        acquisition_date: (0008,0022) as written, DA.
        acquisition_time: (0008,0032) as written, TM.
        frame_reference_ms: (0054,1300) Frame Reference Time.
        frame_duration_ms: (0018,1242) Actual Frame Duration.
        decay_factor: (0054,1321) Decay Factor.
        utc_offset: Of the acquisition, where its DT value has one (`+0100`).
    """

    acquisition_date: str = ""
    acquisition_time: str = ""
    frame_reference_ms: float | None = None
    frame_duration_ms: float | None = None
    decay_factor: float | None = None
    utc_offset: str = ""


@dataclass(frozen=True)
class PetHeader:
    """Header values of one PET series, as written; an empty text or None: absent or unreadable.

    Attributes:
        slices: Times by slice, in the order of the volume.
        units: (0054,1001) Units.
        suv_type: (0054,1006) SUV Type.
        decay_correction: (0054,1102) Decay Correction.
        corrected_image: (0028,0051) Corrected Image.
        manufacturer: (0008,0070).
        model: (0008,1090).
        series_date: (0008,0021).
        series_time: (0008,0031).
        timezone: (0008,0201) Timezone Offset From UTC.
        weight_kg: (0010,1030) Patient's Weight.
        height_m: (0010,1020) Patient's Size.
        sex: (0010,0040).
        radiopharmaceutical: (0018,0031), text.
        radionuclide: (0054,0300) Radionuclide Code Sequence: code value and meaning.
        half_life_s: (0018,1075) Radionuclide Half Life.
        total_dose_bq: (0018,1074) Radionuclide Total Dose.
        injection_datetime: (0018,1078) Radiopharmaceutical Start DateTime.
        injection_time: (0018,1072) Radiopharmaceutical Start Time.
        decay_datetime: (0018,9701) Decay Correction DateTime (enhanced PET).
        siemens_decay_datetime: (0071,xx22) of `SIEMENS MED PT`.
        ge_scan_datetime: (0009,xx0D) of `GEMS_PETD_01`.
        philips_suv_factor: (7053,xx00) of `Philips PET Private Group`.
        philips_activity_factor: (7053,xx09), counts to Bq/mL.
        radiopharmaceutical_items: Items of (0054,0016).
        differing: Names of values above that differ from slice to slice.
    """

    slices: tuple[PetSlice, ...]
    units: str = ""
    suv_type: str = ""
    decay_correction: str = ""
    corrected_image: tuple[str, ...] = ()
    manufacturer: str = ""
    model: str = ""
    series_date: str = ""
    series_time: str = ""
    timezone: str = ""
    weight_kg: float | None = None
    height_m: float | None = None
    sex: str = ""
    radiopharmaceutical: str = ""
    radionuclide: tuple[str, ...] = ()
    half_life_s: float | None = None
    total_dose_bq: float | None = None
    injection_datetime: str = ""
    injection_time: str = ""
    decay_datetime: str = ""
    siemens_decay_datetime: str = ""
    ge_scan_datetime: str = ""
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None
    radiopharmaceutical_items: int = 1
    differing: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)

    def reordered(self, order: Sequence[int]) -> PetHeader:
        """The same header with its slices in another order."""
        return replace(self, slices=tuple(self.slices[i] for i in order))

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> PetHeader:
        """Back from :meth:`as_json`.

        Raises:
            KeyError: Values are missing.
            TypeError: There are values that a header does not have.
        """
        names = {field.name for field in fields(PetHeader)}
        if set(content) != names:
            raise TypeError(f"not a PET header: {sorted(set(content) ^ names)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        values["slices"] = tuple(PetSlice(**entry) for entry in content["slices"])
        return PetHeader(**values)


# Values that may differ between slices of one sound series: the header keeps one for all.
_MAY_DIFFER = {"slices", "differing", "series_time", "ge_scan_datetime", "siemens_decay_datetime"}

_CONVERTED_SHARED = "UnassignedSharedConvertedAttributesSequence"
_CONVERTED_FRAME = "UnassignedPerFrameConvertedAttributesSequence"
_BULK = {0x7FE00010, 0x52009229, 0x52009230}  # pixels, Shared and Per-Frame Functional Groups


@dataclass(frozen=True)
class SliceHeader:
    """Headers of one file: the series' part, and one entry per frame."""

    series: PetHeader
    slices: tuple[PetSlice, ...]


def slice_header(dataset: Dataset) -> SliceHeader:
    """Read what SUV needs from one PET file, classic (PS3.3 C.8.9) or enhanced (C.8.22)."""
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items_of(dataset, "SharedFunctionalGroupsSequence")
    # Legacy converted objects keep what has no place of its own in (0020,9170) and (0020,9171).
    whole = _with_converted(dataset, shared, groups)
    drug = (items_of(whole, "RadiopharmaceuticalInformationSequence") or [Dataset()])[0]
    series = _series_part(whole, drug)
    if not groups:
        return SliceHeader(series, (_slice_part(dataset),))
    return SliceHeader(_enhanced_part(dataset, series), tuple(_frame_part(group, shared) for group in groups))


def _with_converted(dataset: Dataset, shared: list[Dataset], groups: list[Dataset]) -> Dataset:
    """Headers together with a legacy converted object's unassigned attributes; the plain ones win."""
    found = [item for group in groups[:1] for item in items_of(group, _CONVERTED_FRAME)]
    found += [item for group in shared for item in items_of(group, _CONVERTED_SHARED)]
    if not found:
        return dataset
    whole = Dataset()
    for part in (*found, dataset):
        for tag in part.keys():  # noqa: SIM118
            if int(tag) not in _BULK:
                with contextlib.suppress(Exception):  # a broken element is as good as absent
                    whole[tag] = part.get_item(tag)
    return whole


def _enhanced_part(dataset: Dataset, series: PetHeader) -> PetHeader:
    """Units of the frames; decay correction by its flag and moment."""
    values = frame_values(dataset)
    corrected = text_of(dataset, "DecayCorrected").upper()
    return replace(
        series,
        units=values[0].units or series.units,
        suv_type=values[0].suv_type or series.suv_type,
        decay_correction=series.decay_correction or _decay_kind(corrected, series.decay_datetime),
        differing=("units",) if len({v.units for v in values}) > 1 else (),
    )


def _decay_kind(corrected: str, moment: str) -> str:
    """(0054,1102) in the terms of (0018,9758); corrected to an unknown moment is no kind."""
    if corrected == "YES":
        return "START" if moment else ""
    return "NONE" if corrected == "NO" else ""


def _frame_part(group: Dataset, shared: list[Dataset]) -> PetSlice:
    for converted in items_of(group, _CONVERTED_FRAME):
        if text_of(converted, "AcquisitionTime"):
            return _slice_part(converted)
    content = functional_group(group, shared, "FrameContentSequence")
    moment = text_of(content, "FrameAcquisitionDateTime")
    return PetSlice(
        acquisition_date=moment[:8],
        acquisition_time=_clock(moment),
        frame_duration_ms=number_of(content, "FrameAcquisitionDuration"),
        utc_offset=_zone(moment),
    )


def _clock(moment: str) -> str:
    """Time of day of a DT value, without its zone."""
    return moment[8:].split("+")[0].split("-")[0]


def _zone(moment: str) -> str:
    """Offset from UTC of a DT value; empty where it has none."""
    found = re.search(r"[+-]\d{4}$", moment)
    return found[0] if found else ""


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
    moment, written = one_text_of(dataset, "AcquisitionDateTime"), one_text_of(dataset, "AcquisitionTime")
    return PetSlice(
        acquisition_date=one_text_of(dataset, "AcquisitionDate") or moment[:8],
        acquisition_time=written or _clock(moment),
        frame_reference_ms=number_of(dataset, "FrameReferenceTime"),
        frame_duration_ms=number_of(dataset, "ActualFrameDuration"),
        decay_factor=number_of(dataset, "DecayFactor"),
        utc_offset="" if written else _zone(moment),
    )


def _series_part(dataset: Dataset, drug: Dataset) -> PetHeader:
    return PetHeader(
        slices=(),
        units=one_text_of(dataset, "Units").upper(),
        suv_type=one_text_of(dataset, "SUVType").upper(),
        decay_correction=one_text_of(dataset, "DecayCorrection").upper(),
        corrected_image=corrections_of(dataset),
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
        total_dose_bq=number_of(drug, "RadionuclideTotalDose"),
        injection_datetime=one_text_of(drug, "RadiopharmaceuticalStartDateTime"),
        injection_time=one_text_of(drug, "RadiopharmaceuticalStartTime"),
        decay_datetime=one_text_of(dataset, "DecayCorrectionDateTime"),
        siemens_decay_datetime=private_value(dataset, 0x0071, 0x22, "SIEMENS MED PT"),
        ge_scan_datetime=private_value(dataset, 0x0009, 0x0D, "GEMS_PETD_01"),
        philips_suv_factor=_philips(dataset, 0x00),
        philips_activity_factor=_philips(dataset, 0x09),
        radiopharmaceutical_items=_distinct(items_of(dataset, "RadiopharmaceuticalInformationSequence")),
    )


def _distinct(drugs: Sequence[Dataset]) -> int:
    """Items of (0054,0016) that differ in what an SUV depends on; a repeated one counts once."""
    keywords = ("RadionuclideTotalDose", "RadionuclideHalfLife", "Radiopharmaceutical",
                "RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")  # fmt: skip
    return len({(*(text_of(drug, name) for name in keywords), _radionuclide(drug)) for drug in drugs})


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
