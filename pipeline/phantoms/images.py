"""CT and PET as DICOM slices."""

from __future__ import annotations

from datetime import timedelta
from math import exp, log
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pipeline.phantoms.headers import (
    PhantomStudy,
    describe_image,
    dicom_date,
    dicom_time,
    ds,
    pixels,
    place_slice,
    save,
)
from pipeline.phantoms.scanner import BED_S, HALF_LIFE_S, suv_factor, timing
from pipeline.volumes.volume import FloatArray, Volume

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
STEPS = 65535
"""Largest stored value of a slice."""


def instance(modality: str, index: int) -> str:
    """Name from which the UID of one slice is made; index counts from the lowest z."""
    return f"{modality}/{index:04d}"


def write_ct(study: PhantomStudy, ct_hu: Volume, folder: Path) -> None:
    """Write a CT in HU (z, y, x) as one file per slice, stored with intercept −1024."""
    when = timing(study.patient).study
    data = study.header("CT", CT_STORAGE, when)
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SeriesDescription, data.SeriesNumber = "CT AC head and neck", 2
    data.AcquisitionDate, data.AcquisitionTime, data.AcquisitionNumber = dicom_date(when), dicom_time(when), 1
    data.ContentDate, data.ContentTime = dicom_date(when), dicom_time(when)
    data.KVP, data.ConvolutionKernel = "120", "STANDARD"
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "1", "-1024", "HU"
    describe_image(data, ct_hu.grid)
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.rint(ct_hu.array + 1024).astype("<u2")
    for index, plane in enumerate(stored):
        place_slice(data, ct_hu.grid, index)
        data.InstanceNumber = index + 1
        data.PixelData = pixels(plane)
        save(data, study, instance("CT", index), folder / f"{index + 1:04d}.dcm")


def write_pet(study: PhantomStudy, pet_suvbw: Volume, folder: Path) -> FloatArray:
    """Write a PET in g/mL (z, y, x) as activity in Bq/mL, corrected for decay to the series' start.

    The upper half is the first bed position, the lower half the second one, acquired
    later: its acquisition time is not the time of reference. Slices are numbered from the
    top, against the patient's z, as scanners do. Each slice has its own slope, its maximum
    over 65535.

    Returns:
        SUVbw (z, y, x; g/mL, float64) of the values after rounding to 16 bits: the result of a
        correct conversion.
    """
    data = study.header("PT", PET_STORAGE, timing(study.patient).pet)
    _describe_series(data, study, len(pet_suvbw.array))
    describe_image(data, pet_suvbw.grid)
    folder.mkdir(parents=True, exist_ok=True)
    activity = pet_suvbw.array.astype(np.float64) / suv_factor(study.patient)
    count, rounded = len(activity), np.empty_like(activity)
    for index, plane in enumerate(activity):
        place_slice(data, pet_suvbw.grid, index)
        data.InstanceNumber = data.ImageIndex = count - index
        _time_bed(data, study, 0 if index >= count // 2 else 1)
        data.RescaleSlope = ds(max(float(plane.max()), 1e-3) / STEPS)
        stored = np.minimum(np.rint(plane / float(data.RescaleSlope)), STEPS)
        rounded[index] = stored * float(data.RescaleSlope) * suv_factor(study.patient)
        data.PixelData = pixels(stored)
        save(data, study, instance("PT", index), folder / f"{count - index:04d}.dcm")
    return rounded


def _describe_series(data: Dataset, study: PhantomStudy, slices: int) -> None:
    """PET series and isotope modules (PS3.3 C.8.9.1, C.8.9.2)."""
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.SeriesDescription, data.SeriesNumber = "PET AC head and neck", 3
    data.Units, data.CountsSource, data.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
    data.DecayCorrection, data.CorrectedImage = "START", ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    data.NumberOfSlices, data.CollimatorType = slices, "NONE"
    data.RescaleIntercept = "0"
    agent = Dataset()
    injection = timing(study.patient).injection
    agent.Radiopharmaceutical = "FDG"
    agent.RadiopharmaceuticalStartDateTime = dicom_date(injection) + dicom_time(injection)
    agent.RadiopharmaceuticalStartTime = dicom_time(injection)
    agent.RadionuclideTotalDose, agent.RadionuclideHalfLife = (
        ds(study.patient.dose_bq),
        ds(HALF_LIFE_S),
    )
    agent.RadionuclidePositronFraction = "0.97"
    agent.RadionuclideCodeSequence = Sequence([_code("C-111A1", "SRT", "^18^Fluorine")])
    agent.RadiopharmaceuticalCodeSequence = Sequence([_code("C-B1031", "SRT", "Fluorodeoxyglucose F^18^")])
    data.RadiopharmaceuticalInformationSequence = Sequence([agent])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _time_bed(data: Dataset, study: PhantomStudy, bed: int) -> None:
    """Acquisition time of a bed position and the decay factor that was applied to it.

    Decay during the frame included: factor λT / (1 − exp(−λT)) · exp(λ·start), reached at
    (0054,1300) *Frame Reference Time* (PS3.3 C.8.9.4.1.5).
    """
    start = bed * (BED_S + 5)
    when = timing(study.patient).pet + timedelta(seconds=start)
    rate = log(2) / HALF_LIFE_S
    factor = rate * BED_S / (1 - exp(-rate * BED_S)) * exp(rate * start)
    data.AcquisitionDate, data.AcquisitionTime = dicom_date(when), dicom_time(when)
    data.ContentDate, data.ContentTime = dicom_date(when), dicom_time(when)
    data.ActualFrameDuration = str(BED_S * 1000)
    data.FrameReferenceTime, data.DecayFactor = ds(log(factor) / rate * 1000), ds(factor)
