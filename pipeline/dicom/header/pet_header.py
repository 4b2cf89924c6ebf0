"""What standardised uptake values (SUV) need of PET headers: read from DICOM, kept, and accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

from pydicom.dataset import Dataset

from pipeline.dicom.header.dicom_time import (
    FrameTimes,
    PetSlice,
    PetTimes,
    earliest,
    on_the_acquisitions_day,
    on_the_series_day,
    parse_date_and_time,
    parse_local_datetime,
    parse_time,
    read_frame,
    read_slice,
)
from pipeline.dicom.header.frames import corrections_of, frame_values, with_converted_attributes
from pipeline.dicom.header.values import (
    items_of,
    number_of,
    one_text_of,
    parse_number,
    private_text,
    private_value,
    text_of,
)
from pipeline.errors import PipelineError

_ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"
# (0018,1074) is in MBq in an Enhanced PET (PS3.3 C.8.22.4), in Bq elsewhere; no dose lies between the two.
_DOSES_MBQ = (0.1, 1e5)
_GE = re.compile(r"GE(MS)?\b|general electric", re.IGNORECASE)
_PHILIPS = re.compile(r"philips\b", re.IGNORECASE)
# Group, element in the creator's block, private creator, manufacturers.
_PRIVATE = {
    "ge_scan_datetime": (0x0009, 0x0D, "GEMS_PETD_01", _GE),
    "philips_suv_factor": (0x7053, 0x00, "Philips PET Private Group", _PHILIPS),
    "philips_activity_factor": (0x7053, 0x09, "Philips PET Private Group", _PHILIPS),
}
# Values that may differ between slices of one sound series: the header keeps one for all.
_MAY_DIFFER = {"slices", "differing", "series_time", "ge_scan_datetime", "siemens_decay_datetime"}


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
        total_dose_bq: (0018,1074) Radionuclide Total Dose, in Bq whatever the object writes it in.
        injection_datetime: (0018,1078) Radiopharmaceutical Start DateTime.
        injection_time: (0018,1072) Radiopharmaceutical Start Time.
        decay_datetime: (0018,9701) Decay Correction DateTime (enhanced PET).
        siemens_decay_datetime: (0071,xx22) of `SIEMENS MED PT`.
        ge_scan_datetime: (0009,xx0D) of `GEMS_PETD_01`.
        philips_suv_factor: (7053,xx00) of `Philips PET Private Group`.
        philips_activity_factor: (7053,xx09), counts to Bq/mL.
        without_creator: Private elements above that were read at their usual place, since their private
            creator is absent and the manufacturer is the one that writes them.
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
    without_creator: tuple[str, ...] = ()
    radiopharmaceutical_items: int = 1
    differing: tuple[str, ...] = ()

    @cached_property
    def times(self) -> PetTimes:
        """All times of the series, read once."""
        written = [entry.acquired(self.timezone) for entry in self.slices]
        series = parse_date_and_time(self.series_date, self.series_time)
        acquired = [on_the_series_day(time, series, self.series_date) for time in written]
        frames = (
            FrameTimes(time, entry.frame_reference_ms, entry.frame_duration_ms, entry.decay_factor)
            for time, entry in zip(acquired, self.slices, strict=True)
        )
        return PetTimes(
            frames=tuple(frames),
            series=on_the_acquisitions_day(series, written),
            first_acquisition=earliest(acquired),
            acquisitions_differ=len({(s.acquisition_date, s.acquisition_time) for s in self.slices}) > 1,
            injection=parse_local_datetime(self.injection_datetime, self.timezone),
            injection_clock_s=parse_time(self.injection_time),
            injection_written=self.injection_datetime or self.injection_time,
            decay_correction=parse_local_datetime(self.decay_datetime, self.timezone),
            siemens_decay_correction=parse_local_datetime(self.siemens_decay_datetime, self.timezone),
            ge_scan=parse_local_datetime(self.ge_scan_datetime, self.timezone),
            counts_to_frame_start=bool(_GE.match(self.manufacturer)),
        )

    def missing_values(self) -> list[str]:
        """What an SUV needs and the header lacks, with tags: units, weight, dose."""
        missing = []
        if not self.units:
            missing.append("units (0054,1001)")
        if self.units not in ("GML", "CM2ML") and not (self.units == "CNTS" and self.philips_suv_factor):
            if self.weight_kg is None:
                missing.append("weight (0010,1030) Patient's Weight")
            if self.total_dose_bq is None:
                missing.append("dose (0018,1074) Radionuclide Total Dose")
        return missing

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
        names = {entry.name for entry in fields(PetHeader)}
        if set(content) != names:
            raise TypeError(f"not a PET header: {sorted(set(content) ^ names)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
        values["slices"] = tuple(PetSlice(**entry) for entry in content["slices"])
        return PetHeader(**values)


@dataclass(frozen=True)
class SuvAudit:
    """How a value came about; the audits of all steps, added in order, account for one patient's SUV.

    Attributes:
        path: Steps in order, each with the values it used.
        assumptions: What the headers don't say and the standard, a vendor's habit or a
            setting supplied.
        flags: What a person should look at.
    """

    path: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def __add__(self, later: SuvAudit) -> SuvAudit:
        """This audit, followed by that of later steps."""
        return SuvAudit(
            self.path + later.path, self.assumptions + later.assumptions, self.flags + later.flags
        )


def add_missing_values(error: PipelineError, header: PetHeader | None) -> None:
    """Say in a refusal for other reasons that the headers could not give an SUV either."""
    missing = [] if header is None else header.missing_values()
    if missing:
        message = "nor could its headers give an SUV: no " + ", no ".join(missing)
        error.got = f"{error.got}; {message}" if error.got else message


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
    differing = [
        name
        for name in (entry.name for entry in fields(PetHeader))
        if name not in _MAY_DIFFER
        and any(getattr(header.series, name) != getattr(first, name) for header in headers[1:])
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
