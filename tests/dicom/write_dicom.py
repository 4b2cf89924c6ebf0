"""Writes small DICOM series with known geometry and values for the tests of this room."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "ECT": "1.2.840.10008.5.1.4.1.1.2.1",
    "EPT": "1.2.840.10008.5.1.4.1.1.130",
}
FRAME = generate_uid(entropy_srcs=["frame"])
STUDY = generate_uid(entropy_srcs=["study"])
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Edit = Callable[[Dataset, int], None]


def leave(_dataset: Dataset, _number: int) -> None:
    """No change to a slice."""


@dataclass(frozen=True)
class Recipe:
    """What a written series looks like; spacing (z, y, x) mm, origin LPS mm."""

    modality: str = "CT"
    spacing: tuple[float, float, float] = (3.0, 2.0, 1.5)
    origin: tuple[float, float, float] = (-20.0, -30.0, 40.0)
    orientation: tuple[float, ...] = AXIAL
    slope: float = 1.0
    intercept: float = -1024.0
    description: str = "series"
    series_uid: str = ""
    study_uid: str = STUDY
    frame_uid: str = FRAME

    @property
    def uid(self) -> str:
        made = generate_uid(entropy_srcs=[self.modality, self.description, self.study_uid])
        return self.series_uid or made[:56]  # room for the number of an instance

    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])

    def position(self, number: float) -> list[float]:
        return list(np.asarray(self.origin) + number * self.spacing[0] * self.normal())


def voxels(shape=(12, 10, 8), seed=3) -> np.ndarray:
    """Stored values 0 to 3000, reproducible."""
    return np.random.default_rng(seed).integers(0, 3000, shape).astype(np.uint16)


def plain_dataset(recipe: Recipe, number: int) -> Dataset:
    """Headers of one slice, without pixels."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CLASSES[recipe.modality]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{recipe.uid}.{number + 1}"
    ds.Modality = recipe.modality[-2:]
    ds.SeriesInstanceUID, ds.StudyInstanceUID = recipe.uid, recipe.study_uid
    ds.FrameOfReferenceUID = recipe.frame_uid
    ds.PatientID, ds.PatientName, ds.PatientBirthDate = "PLANTED-ID", "Planted^Name", "19510203"
    ds.AccessionNumber = "PLANTED-ACC"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20200310"
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime = "095500", "100000", "100000"
    ds.SeriesDescription, ds.ImageType = recipe.description, ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = number + 1
    if recipe.modality[-2:] == "PT":
        add_pet(ds)
    return ds


def add_pet(ds: Dataset) -> None:
    """70 kg, 350 MBq of F-18 at 09:00, START-corrected to 10:00: factor 2.92127349244366e-4."""
    ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["ATTN", "DECY"]
    ds.SeriesType = ["WHOLE BODY", "IMAGE"]
    ds.PatientWeight, ds.PatientSize, ds.PatientSex = "70", "1.75", "M"
    ds.FrameReferenceTime, ds.ActualFrameDuration = "60000", "120000"
    drug = Dataset()
    drug.RadiopharmaceuticalStartTime = "090000"
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = "350000000", "6586.2"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    drug.RadionuclideCodeSequence = [code]
    ds.RadiopharmaceuticalInformationSequence = [drug]


def set_pixels(ds: Dataset, values: np.ndarray) -> None:
    """Store values (rows, columns) or (frames, rows, columns) as 16 bits."""
    ds.Rows, ds.Columns = values.shape[-2:]
    if values.ndim == 3:
        ds.NumberOfFrames = len(values)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(values.dtype == np.int16)
    ds.PixelData = np.ascontiguousarray(values).tobytes()


def write_series(
    folder: Path, values: np.ndarray, recipe: Recipe, edit: Edit = leave, names=lambda n: f"{n:03d}.dcm"
) -> Path:
    """Write a classic series, a file per slice; `edit` changes headers before writing."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(values):
        ds = plain_dataset(recipe, number)
        ds.ImagePositionPatient = [round(v, 6) for v in recipe.position(number)]
        ds.ImageOrientationPatient = [round(v, 9) for v in recipe.orientation]
        ds.PixelSpacing = list(recipe.spacing[1:])
        ds.RescaleSlope, ds.RescaleIntercept = str(recipe.slope), str(recipe.intercept)
        set_pixels(ds, frame)
        edit(ds, number)
        save(ds, folder / names(number))
    return folder


def save(ds: Dataset, path: Path) -> None:
    """Write a dataset as a DICOM file."""
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def write_pair(folder: Path, ct_edit: Edit = leave, pet_edit: Edit = leave) -> Path:
    """A CT and a PET that belong together."""
    write_series(folder / "ct", voxels(), Recipe(description="ct"), ct_edit)
    pet = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="pet")
    write_series(folder / "pet", voxels((9, 7, 6), seed=4), pet, pet_edit)
    return folder


def rotation(degrees: float, axis: str) -> np.ndarray:
    """Rotation about the x or the z axis."""
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    about = {"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}
    return np.asarray(about[axis])


POSITIONS = {
    "head first supine": np.eye(3),
    "feet first supine": np.diag([-1.0, 1.0, -1.0]),
    "prone": np.diag([-1.0, -1.0, 1.0]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "oblique": rotation(17, "x") @ rotation(-9, "z"),
}
"""Direction matrices (columns: rows of the image, columns, normal) by the patient's position."""
