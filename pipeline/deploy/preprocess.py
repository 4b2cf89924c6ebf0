"""A new patient through the same per-patient stages as the study's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.crops.crop import CropSources, crop_patient
from pipeline.deploy.covariate_shift import PatientStages
from pipeline.deploy.manifest import FEATURE_SET, TEMPLATE, BundleError, Manifest
from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
STUDY_ROI = "study"
"""As a contour: whatever the study's own patterns find."""


@dataclass(frozen=True)
class NewPatient:
    """What is known of a patient to be predicted.

    Attributes:
        patient_id: Names the outputs; never taken from the images.
        images: Folder of DICOM (or NIfTI) files.
        roi: Patterns of ROI names, a mask file, `sphere(x, y, z, r)`, or `study`; empty: no
            contour is looked for unless the bundle needs one.
        clinical: Text by column; blank: unknown.
    """

    patient_id: str
    images: Path
    roi: str
    clinical: dict[str, str]


def run_stages(
    bundle: Path, manifest: Manifest, patient: NewPatient, work: Path
) -> tuple[PatientStages, Path | None]:
    """Index, convert, SUV, contour, registration and crop, each by the study's settings.

    Args:
        bundle: The bundle's folder.
        manifest: Its manifest.
        patient: Whom.
        work: Folder for the stages' own folders, which hold UIDs.

    Returns:
        What the stages left, and the folder of the contour if there is one.

    Raises:
        PatientError: The patient's data cannot be trusted; the message says why.
        BundleError: The patient's name cannot name a file.
    """
    if not NAME.fullmatch(patient.patient_id):
        raise BundleError(
            "a patient's name must be letters, digits, - and _",
            expected="1 to 64 of them",
            got=repr(patient.patient_id[:80]),
        )
    folders = {stage: work / stage / patient.patient_id for stage in _STAGES}
    _to_volumes(manifest, patient, folders)
    section: Callable[[str], dict[str, Any]] = manifest.sections.__getitem__
    from pipeline.dicom.pet.suv import suv_patient
    from pipeline.registration.register import RegistrationSources, register_patient

    suv_patient(folders["convert"], folders["suv"], SuvSettings.model_validate(section("suv")), "stop")
    contours = _contour(manifest, patient, folders)
    register_patient(
        RegistrationSources(patient.patient_id, folders["convert"], bundle / TEMPLATE),
        folders["registration"],
        RegistrationSettings.model_validate(section("registration")),
        "stop",
    )
    crop = work / "crops" / f"{patient.patient_id}.zarr"
    sources = CropSources(
        patient.patient_id, folders["convert"], folders["suv"], contours, folders["registration"]
    )
    mask_from = section("contours")["crop_mask"]
    crop_patient(sources, crop, CropSettings.model_validate(section("crop")), "stop", mask_from)
    done = PatientStages(folders["convert"], folders["suv"], folders["registration"], crop)
    return done, contours


_STAGES = ("index", "convert", "suv", "contours", "registration")


def _to_volumes(manifest: Manifest, patient: NewPatient, folders: dict[str, Path]) -> None:
    files = PatientFiles(patient.patient_id, patient.images)
    if manifest.source == "nifti":
        from pipeline.dicom.volume.convert_nifti import convert_nifti

        settings = CohortSettings.model_validate(manifest.sections["cohort"])
        convert_nifti(files, folders["convert"], settings, "stop")
        return
    from pipeline.dicom.series.index import index_patient
    from pipeline.dicom.volume.convert import convert_patient

    index_patient(files, IndexSettings.model_validate(manifest.sections["index"]), folders["index"], "stop")
    convert = ConvertSettings.model_validate(manifest.sections["convert"])
    convert_patient(folders["index"], folders["convert"], convert, "stop")


def _contour(manifest: Manifest, patient: NewPatient, folders: dict[str, Path]) -> Path | None:
    """Folder of the contour; None where none is asked for and none is needed."""
    if not patient.roi and not manifest.needs_contour:
        return None
    sources = ContourSources(
        patient_id=patient.patient_id,
        index=folders["index"] if manifest.source == "dicom" else None,
        convert=folders["convert"],
        suv=folders["suv"],
        roi="" if patient.roi == STUDY_ROI else patient.roi,
        folder=patient.images,
    )
    settings = ContourSettings.model_validate({**manifest.sections["contours"], "required": True})
    contours_patient(sources, folders["contours"], settings, "stop")
    return folders["contours"]


def warnings_of(stages: PatientStages, contours: Path | None) -> list[str]:
    """What the stages told of the patient."""
    from pipeline.store.crops import read_status as crop_status

    folders = [stages.convert, stages.suv, stages.registration, *([contours] if contours else [])]
    states = [*(read_status(folder) for folder in folders), crop_status(stages.crop)]
    return [f"{state.stage}: {state.problem}" for state in states if state.state == "warned"]


def features_of(bundle: Path, manifest: Manifest, crop: Path, masks: Path | None) -> dict[str, float]:
    """A patient's radiomics features by column.

    Args:
        bundle: The bundle's folder.
        manifest: Its manifest.
        crop: The crop store.
        masks: `masks.zarr` with the predicted contour; None: the crop's own.

    Raises:
        RadiomicsError: They cannot be computed, or the contour is empty.
    """
    from pipeline.errors import RadiomicsError
    from pipeline.radiomics.radiomics_patient import ExtractionOptions, patient_features
    from pipeline.radiomics.sets import load_feature_set
    from pipeline.radiomics.sources import read_crop, with_predicted

    settings = RadiomicsSettings.model_validate(
        {**manifest.sections["radiomics"], "feature_set": str(bundle / FEATURE_SET)}
    )
    images = read_crop(crop)
    if masks is not None:
        images = with_predicted(images, masks)
    if not images.contour:
        raise RadiomicsError(
            "there is no contour to take features from",
            where="predicted contour" if masks is not None else "contour",
            got="the networks found no lesion" if masks is not None else "none",
            action="give the contour (--roi)",
        )
    options = ExtractionOptions(settings, "manual", "stop")
    return patient_features(images, load_feature_set(settings), options).values
