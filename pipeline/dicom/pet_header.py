"""What standardised uptake values need of PET headers, apart from where it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


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
