"""A new patient through the same per-patient stages as the study's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.crops.crop import CropSources, crop_patient
from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.covariate_shift import StageFolders
from pipeline.deploy.crop_box import crop_settings, require_box
from pipeline.deploy.manifest import FEATURE_SET, TEMPLATE, BundleError, Manifest
from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
STUDY_ROI = "study"
"""As a contour: whatever the study's own patterns find."""
STAGES = ("index", "convert", "suv", "contours", "registration")
"""Stages that write a folder for the patient."""


@dataclass(frozen=True)
class NewPatient:
    """What is known of a patient to be predicted.

    Attributes:
        patient_id: Names the outputs; never taken from the images.
        images: Folder of DICOM (or NIfTI) files.
        roi: Patterns of ROI names, a mask file, `sphere(x, y, z, r)`, or `study`; empty: no
            contour is looked for unless the bundle needs one.
        clinical: Text by column; blank: unknown.
        box: Corners of the crop's box, `x1,x2,y1,y2,z1,z2` (LPS mm), or `brain_anchored`; empty: none.
        scan_date: Whether the prediction shows the dates of the scans, which identify a patient.
    """

    patient_id: str
    images: Path
    roi: str
    clinical: dict[str, str]
    box: str = ""
    scan_date: bool = False


def preprocess_patient(bundle: Bundle, patient: NewPatient, work: Path) -> StageFolders:
    """Index, convert, SUV, contour, registration and crop, each by the study's settings.

    Args:
        bundle: The bundle.
        patient: The patient to be preprocessed.
        work: Folder for the stages' own folders, which hold UIDs.

    Returns:
        What the stages wrote.

    Raises:
        PatientError: The patient's data cannot be trusted; the message says why.
        BundleError: The patient's name cannot name a file, or the box is not the one that is needed.
    """
    from pipeline.dicom.pet.suv import suv_patient
    from pipeline.registration.register import RegistrationSources, register_patient

    if not NAME.fullmatch(patient.patient_id):
        raise BundleError(
            "a patient's name must be letters, digits, - and _",
            expected="1 to 64 of them",
            got=repr(patient.patient_id[:80]),
        )
    manifest, settings = bundle.manifest, bundle.manifest.stages
    require_box(manifest, patient.box)
    folders = {stage: work / stage / patient.patient_id for stage in STAGES}
    _convert(manifest, patient, folders)
    needed = "pet" in manifest.channels
    suv_patient(folders["convert"], folders["suv"], settings.suv, "stop", needed=needed)
    contours = _contour(manifest, patient, folders)
    register_patient(
        RegistrationSources(patient.patient_id, folders["convert"], bundle.folder / TEMPLATE),
        folders["registration"],
        settings.registration,
        "stop",
    )
    crop = work / "crops" / f"{patient.patient_id}.zarr"
    sources = CropSources(
        patient.patient_id, folders["convert"], folders["suv"], contours, folders["registration"]
    )
    placed = crop_settings(manifest, patient.patient_id, patient.box, work)
    crop_patient(sources, crop, placed, "stop", settings.contours.crop_mask)
    return StageFolders(folders["convert"], folders["suv"], folders["registration"], crop, contours)


def _convert(manifest: Manifest, patient: NewPatient, folders: dict[str, Path]) -> None:
    """CT and PET as volumes, from NIfTI or DICOM files."""
    files = PatientFiles(patient.patient_id, patient.images)
    if manifest.source == "nifti":
        from pipeline.dicom.volume.convert_nifti import convert_nifti

        convert_nifti(files, folders["convert"], manifest.stages.nifti, "stop")
        return
    from pipeline.dicom.series.index import index_patient
    from pipeline.dicom.volume.convert import convert_patient

    index_patient(files, manifest.stages.index, folders["index"], "stop")
    convert_patient(folders["index"], folders["convert"], manifest.stages.convert, "stop")


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
    settings = manifest.stages.contours.model_copy(update={"required": True})
    contours_patient(sources, folders["contours"], settings, "stop")
    return folders["contours"]


def stage_warnings(folders: StageFolders) -> list[str]:
    """Warnings of the stages."""
    from pipeline.store.crops import read_status as crop_status

    paths = [folders.convert, folders.suv, folders.registration]
    paths += [folders.contours] if folders.contours else []
    states = [*(read_status(path) for path in paths), crop_status(folders.crop)]
    return [f"{state.stage}: {state.problem}" for state in states if state.state == "warned"]


def radiomics_features(
    bundle: Bundle, patient_id: str, folders: StageFolders, masks: Path | None
) -> dict[str, float]:
    """A patient's radiomics features by column, PET metrics from the native PET.

    Args:
        bundle: The bundle.
        patient_id: The patient.
        folders: What the stages wrote.
        masks: `masks.zarr` with the predicted contour; None: the drawn one.

    Raises:
        RadiomicsError: They cannot be computed, or the contour is empty.
    """
    from pipeline.errors import RadiomicsError
    from pipeline.radiomics.native_pet import FeatureSources
    from pipeline.radiomics.pet_harmonisation import harmonised
    from pipeline.radiomics.radiomics_patient import ExtractionOptions, patient_features, with_classes
    from pipeline.radiomics.sets import load_feature_set
    from pipeline.radiomics.sources import read_images, read_predicted

    feature_set = str(bundle.folder / FEATURE_SET)
    settings = bundle.manifest.stages.radiomics.model_copy(update={"feature_set": feature_set})
    sources = FeatureSources(
        patient_id, folders.convert, folders.suv, folders.contours, folders.registration, folders.crop
    )
    options = ExtractionOptions(settings, "manual", "stop")
    images, *of_classes = (
        harmonised(
            read_images(part) if masks is None else read_predicted(part, masks),
            folders.suv,
            settings.pet_fwhm_mm,
        )
        for part in (replace(sources, label=label) for label in range(len(options.classes()) + 1))
    )
    if not images.has_contour:
        raise RadiomicsError(
            "there is no contour to take features from",
            where="predicted contour" if masks is not None else "contour",
            got="the networks found no lesion" if masks is not None else "none",
            action="give the contour (--roi)",
        )
    features = load_feature_set(settings)
    whole = patient_features(images, features, options)
    return with_classes(whole, of_classes, features, options).values
