"""Cohorts of NIfTI files: the outputs of `convert` from a CT in HU and a PET in SUVbw."""

from __future__ import annotations

import json
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.series.index_file import PetToCt
from pipeline.dicom.volume.hounsfield import hounsfield_warnings, require_hounsfield
from pipeline.errors import DicomError, SettingsError, SuvError
from pipeline.settings.base import Policy
from pipeline.settings.cohort import NiftiSettings
from pipeline.tables.files import PatientFiles, images_in_place
from pipeline.tables.status import Warnings, patient_stage
from pipeline.volumes.grids import require_overlap
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.nifti_bytes import place_warnings
from pipeline.volumes.volume import Volume

MOST_SUV = 1000.0
"""Any SUV (g/mL) lies far below this value, while a PET in Bq/mL exceeds it."""
_NO_SCANNER: dict[str, Any] = {"manufacturer": "", "model": "", "kernel": "", "patient_position": ""}


def convert_nifti(patient: PatientFiles, out: Path, settings: NiftiSettings, policy: Policy) -> None:
    """Write `ct_hu.nii.gz`, `pet_stored.nii.gz`, `ct.json` and `pet.json` of a NIfTI patient.

    `pet.json` says what the cohort declares, SUV by body weight in g/mL, as (0054,1001) Units
    GML and (0054,1006) SUV Type BW would, so that `suv_patient` passes the values on.

    Args:
        patient: The patient and the folder with the patient's files.
        out: Folder of this patient's volumes.
        settings: Patterns of the files' names, and the quantity that the PET holds.
        policy: What happens to a patient without usable files.

    Raises:
        SettingsError: `cohort.nifti_pet_quantity` is not `suvbw` (whatever the policy).
        DicomError: (policy `stop`) no file, or several, of a pattern; a CT that is not in HU.
        SuvError: (policy `stop`) PET values that cannot be SUV.
        GeometryError: (policy `stop`) PET and CT do not overlap, or a file is cut, damaged, or no 3D image
            of real numbers.
        PatientError: (policy `stop`) no images.
        MachineError: Images that were there when the run began are gone, or changed meanwhile.
    """
    if settings.nifti_pet_quantity != "suvbw":
        raise SettingsError(
            "a NIfTI cohort must declare what its PET holds: the file cannot say",
            where="cohort.nifti_pet_quantity",
            expected="suvbw (g/mL)",
            got=settings.nifti_pet_quantity,
            action="convert the PET to SUVbw and declare it, or start from DICOM",
        )
    with patient_stage("convert", patient.patient_id, out, policy) as work, images_in_place(patient):
        ct = _read(patient, settings.nifti_ct, "CT", settings.nifti_max_mib, work.warnings)
        pet = _read(patient, settings.nifti_pet, "PET", settings.nifti_max_mib, work.warnings)
        if ct is None and pet is None:
            raise DicomError(
                "neither CT nor PET is asked for", where="cohort.nifti_ct, cohort.nifti_pet", got="empty"
            )
        if ct is not None and pet is not None:
            require_overlap(ct.grid, pet.grid, "check the headers that the files were written with")
        if ct is not None:
            _write_ct(ct, work.folder, work.warnings)
        if pet is not None:
            _write_pet(pet, work.folder, work.warnings, "alone" if ct is None else "same_frame")


def file_of(folder: Path, pattern: str, name: str) -> Path:
    """The single file of a patient's folder that fits a pattern.

    Args:
        folder: The patient's folder.
        pattern: `cohort.nifti_ct` or `cohort.nifti_pet`; upper and lower case are the same.
        name: CT or PET, for the message.

    Raises:
        DicomError: There is no folder, no such file, or several.
    """
    if not folder.is_dir():
        raise DicomError("the images are no folder", where="image_path", action="correct image_path")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    matching = [text for text in names if fnmatchcase(text.lower(), pattern.lower())]
    if len(matching) != 1:
        raise DicomError(
            f"no {name} file" if not matching else f"several {name} files",
            where="image_path",
            expected=f"one file named like {pattern}",
            got=f"{len(matching)} such files" if matching else f"{len(names)} files, none of that name",
            action=f"set cohort.nifti_{name.lower()} to a pattern that fits one file",
        )
    return folder / matching[0]


def _read(patient: PatientFiles, pattern: str, name: str, max_mib: int, warnings: Warnings) -> Volume | None:
    """The volume of the single file that fits a pattern; None where the pattern is empty."""
    if not pattern:
        return None
    path, label = file_of(patient.folder, pattern, name), f"the {name} file of image_path"
    volume = read_nifti(path, max_bytes=max_mib << 20, label=label)
    warnings.extend(place_warnings(path, label))
    return volume


def _write_ct(volume: Volume, out: Path, warnings: Warnings) -> None:
    low, high = float(volume.array.min()), float(volume.array.max())
    if high - low < 50:
        raise DicomError(
            "the CT is not in Hounsfield units",
            expected="about -1000 (air) to 1000 and more (bone)",
            got=f"{low:g} to {high:g}",
            action="give the CT before any normalisation",
        )
    require_hounsfield(volume)
    for warning in hounsfield_warnings(volume):
        warnings.warn(warning)
    integers = low >= -32768 and high <= 32767 and bool((volume.array == np.round(volume.array)).all())
    array = volume.array.astype(np.int16 if integers else np.float32)
    _write(out, "ct_hu.nii.gz", "ct.json", Volume(array, volume.grid, "ct_hu"), {"header": _NO_SCANNER})


def _write_pet(volume: Volume, out: Path, warnings: Warnings, pet_to_ct: PetToCt) -> None:
    # A single voxel above may be an extravasated injection, which the stage suv flags.
    low, high = float(volume.array.min()), float(np.percentile(volume.array, 99.9))
    if high > MOST_SUV or not volume.array.max() > 0:
        raise SuvError(
            "the PET's values cannot be SUV",
            where="cohort.nifti_pet_quantity: suvbw",
            expected=f"values above 0, and 99.9 % of them below {MOST_SUV:g} g/mL",
            got=f"{high:g}",
            action="convert it to SUVbw; Bq/mL need body weight, dose and times",
        )
    if low < -1.0:
        warnings.warn(f"the PET holds values down to {low:g} g/mL")
    if volume.array.dtype.kind in "iu" or bool((volume.array == np.round(volume.array)).all()):
        warnings.warn(
            "the PET holds whole numbers only: SUV of up to 1 g/mL may have been cut off; write it as float32 from its "
            "source"
        )
    header = PetHeader(slices=(), units="GML", suv_type="BW").as_json()
    stored = Volume(volume.array.astype(np.float32), volume.grid, "pet_stored")
    _write(out, "pet_stored.nii.gz", "pet.json", stored, {"pet_to_ct": pet_to_ct, "header": header})


def _write(out: Path, name: str, header_name: str, volume: Volume, more: dict[str, Any]) -> None:
    write_nifti(out / name, volume)
    content = {
        "source": "nifti",
        "quantity": volume.quantity,
        "dtype": str(volume.array.dtype),
        "geometry": asdict(volume.grid),
        "minimum": float(volume.array.min()),
        "maximum": float(volume.array.max()),
        **more,
    }
    (out / header_name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
