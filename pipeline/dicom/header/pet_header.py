"""What standardised uptake values (SUV) need of PET headers: read from DICOM, kept, and accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

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
    past_midnight,
)
from pipeline.errors import PipelineError

# (0018,1074) is in MBq in an Enhanced PET (PS3.3 C.8.22.4), in Bq elsewhere; no dose lies between the two.
# Group, element in the creator's block, private creator, manufacturers.
# Values that may differ between slices of one sound series: the header keeps one for all.


# Manufacturer, as General Electric scanners write it.
GE_NAMES = re.compile(r"GE(MS)?\b|general electric", re.IGNORECASE)


@dataclass(frozen=True)
class PetHeader:
    """Header values of one PET series, as written; an empty text or None: absent or unreadable.

    Attributes:
        slices: Times by slice, in the order of the volume.
        units: (0054,1001) Units.
        suv_type: (0054,1006) SUV Type.
        decay_correction: (0054,1102) Decay Correction.
        corrected_image: (0028,0051) Corrected Image.
        unattenuated: Whether (0054,1101) Attenuation Correction Method says that there was no correction.
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
    unattenuated: bool = False
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
        if series is None:
            acquired = past_midnight(
                acquired, [time is not None and time.day is not None for time in written]
            )
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
            counts_to_frame_start=bool(GE_NAMES.match(self.manufacturer)),
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
