"""DICOM headers that CT, PET and structure sets of a phantom share, with planted identifiers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from pipeline.phantoms.patient import PhantomPatient
from pipeline.phantoms.scanner import timing
from pipeline.volumes.volume import Grid

MANUFACTURER = "SUVival phantom"
PLANTED: dict[str, str] = {
    "PatientName": "Zyxwhart^Quillon",
    "PatientID": "MRN5528406",
    "PatientBirthDate": "19470307",
    "AccessionNumber": "ACC7730915",
    "ReferringPhysicianName": "Brekkendorf^Ishbel",
    "InstitutionName": "Kestrelmoor Infirmary",
    "StationName": "KMPETCT04",
}
"""DICOM keyword → text in every file of the phantom, so that tests can search outputs for leaks.
Names and numbers continue with the patient's number."""

UID_ROOT = "2.25.77309155284"
"""Start of every UID that names an object of the phantom (UUID-derived root, PS3.5 B.2)."""

NUMBERED = ("PatientName", "PatientID", "AccessionNumber")


@dataclass(frozen=True)
class PhantomStudy:
    """The study of a patient: what its DICOM objects have in common.

    Attributes:
        patient: The patient.
        seed: Seed of the cohort; UIDs are derived from it and the patient's number.
    """

    patient: PhantomPatient
    seed: int

    def uid(self, what: str) -> str:
        """UID of one of the study's objects."""
        return derived_uid(self.seed, self.patient.number, what)

    def header(self, modality: str, sop_class: str, series: datetime) -> FileDataset:
        """A data set with patient, study, series and equipment (PS3.3 C.7.1 to C.7.5)."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = sop_class
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = f"{UID_ROOT}0"
        meta.ImplementationVersionName = "SUVIVAL_PHANTOM"
        data = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
        data.SOPClassUID, data.Modality = sop_class, modality
        data.SpecificCharacterSet = "ISO_IR 100"
        for keyword, text in planted_identifiers(self.patient.number).items():
            setattr(data, keyword, text)
        data.PatientSex = self.patient.sex
        data.PatientAge = f"{self.patient.age_years:03d}Y"
        data.PatientWeight, data.PatientSize = self.patient.weight_kg, self.patient.size_m
        start = timing(self.patient).study
        data.StudyInstanceUID, data.StudyID = self.uid("study"), "1"
        data.StudyDate, data.StudyTime = dicom_date(start), dicom_time(start)
        data.SeriesInstanceUID = self.uid(modality)
        data.SeriesDate, data.SeriesTime = dicom_date(series), dicom_time(series)
        data.FrameOfReferenceUID, data.PositionReferenceIndicator = self.uid("frame"), ""
        data.Manufacturer, data.ManufacturerModelName = MANUFACTURER, f"scanner {self.patient.centre}"
        data.SoftwareVersions = "1"
        return data


def planted_identifiers(number: int) -> dict[str, str]:
    """Identifiers of a patient: :data:`PLANTED`, made unique by the patient's number."""
    return {key: f"{text}{number:03d}" if key in NUMBERED else text for key, text in PLANTED.items()}


def derived_uid(seed: int, number: int, what: str) -> str:
    """A UID that depends on nothing but its arguments (no clock, no host).

    Args:
        seed: Seed of the cohort.
        number: Patient's number.
        what: Which object, e.g. `CT/0012`.
    """
    digest = hashlib.sha256(f"suvival phantom/{seed}/{number}/{what}".encode()).digest()
    return f"{UID_ROOT}{int.from_bytes(digest[:11], 'big') % 10**26:026d}"


def dicom_date(when: datetime) -> str:
    """DICOM DA."""
    return when.strftime("%Y%m%d")


def dicom_time(when: datetime) -> str:
    """DICOM TM with milliseconds."""
    return when.strftime("%H%M%S.") + f"{when.microsecond // 1000:03d}"


def ds(value: float) -> str:
    """DICOM DS: the closest decimal string of 16 characters."""
    return str(format_number_as_ds(float(value)))


def describe_image(data: Dataset, grid: Grid) -> None:
    """Image plane and pixel modules, as far as all slices share them (PS3.3 C.7.6.2, C.7.6.3)."""
    depth, height, width = grid.spacing_mm
    data.Rows, data.Columns = grid.shape[1:]
    data.PixelSpacing, data.SliceThickness = [ds(height), ds(width)], ds(depth)
    data.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    data.PatientPosition = "HFS"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0


def place_slice(data: Dataset, grid: Grid, index: int) -> None:
    """Position of one slice of a grid."""
    x, y, z = grid.points([[index, 0, 0]])[0]
    data.ImagePositionPatient = [ds(x), ds(y), ds(z)]
    data.SliceLocation = ds(z)


def save(data: FileDataset, study: PhantomStudy, what: str, path: Path) -> None:
    """Set the SOP instance UID of a data set and write it."""
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = study.uid(what)
    data.save_as(path, enforce_file_format=True)


def pixels(values: np.ndarray) -> bytes:
    """Pixel data of a slice, little endian."""
    return values.astype("<u2").tobytes()
