"""The base header of the SUV tables, and short ways to change its times.

70 kg, 1.75 m, man, 350 MBq of F-18 (6586.2 s) injected at 09:00, scanned at 10:00.
"""

from __future__ import annotations

import dataclasses

from pipeline.dicom.header.dicom_time import PetSlice
from pipeline.dicom.header.pet_header import PetHeader, SuvAudit
from pipeline.dicom.pet.factor import suv_factor
from pipeline.settings.dicom import SuvSettings

BASE = PetHeader(
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


def clock(date, time):
    return {"series_date": date, "series_time": time, "slices": (PetSlice(date, time),)}


def slices(*times):
    return tuple(PetSlice("20200310", time) for time in times)


def frames(*entries):
    return tuple(PetSlice("20200310", *entry) for entry in entries)


def factors_of(header, settings):
    """SUV factors of the base header with some values and settings changed."""
    return suv_factor(dataclasses.replace(BASE, **header), SuvSettings(**settings)).factors


def audit_of(**header) -> SuvAudit:
    """The audit of the base header with some values changed."""
    return suv_factor(dataclasses.replace(BASE, **header), SuvSettings()).audit


def flags_of(**header) -> str:
    """Its flags as one text."""
    return " ".join(audit_of(**header).flags)
