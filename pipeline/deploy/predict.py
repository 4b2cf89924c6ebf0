"""A new patient from images to a prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.deploy import flags as flagging
from pipeline.deploy.answerable import NO_LESION
from pipeline.deploy.boxes import boxes_table
from pipeline.deploy.bundle_files import Bundle, digest_of
from pipeline.deploy.covariate_shift import StageFolders, patient_covariates, scanner_of, suv_record
from pipeline.deploy.crop_box import box_flags
from pipeline.deploy.estimate import MemberScores, Probability, RiskEstimate, estimate_risk, survival_times
from pipeline.deploy.flags import Flag
from pipeline.deploy.inputs import inputs_of
from pipeline.deploy.linear import class_probabilities, linear_risk, survival, z_score
from pipeline.deploy.manifest import BundleError, Manifest
from pipeline.deploy.manifest_members import LinearMember, NetworkFold, NetworkMember
from pipeline.deploy.networks import ComputeOptions, NetworkInputs, NetworkResult, run_network
from pipeline.deploy.preprocess import NewPatient, preprocess_patient, radiomics_features, stage_warnings

if TYPE_CHECKING:
    import pandas as pd


Contour = Literal["given", "predicted", "none"]
PREDICTED_CONTOUR = Flag(
    "warning", "contour", "features were taken from the predicted contour; the study's were drawn by hand"
)


@dataclass(frozen=True)
class Prediction:
    """What a bundle predicts of a patient.

    Attributes:
        patient_id: The name given.
        estimate: Risk and survival; None where no member predicts survival.
        labels: Probability by label, mean over folds and models.
        members: Mean Z by member that predicts survival.
        member_survival: Probabilities at the bundle's horizons by the same members, mean over folds.
        probability: (Z, Y, X) mean tumour probability on the crop without margin, or None.
        contour: `given`, `predicted` (features were taken from it) or `none`.
        covariates: Values compared with those of the development patients.
        flags: What has to be known.
        folders: What the per-patient stages wrote.
        inputs: What was entered, chosen and assumed; see :func:`pipeline.deploy.inputs.inputs_of`.
        boxes: See :func:`pipeline.deploy.boxes.boxes_table`; None where no network detects.
        class_probability: (K, Z, Y, X) the same of each class of the mask; None where it tells none apart.
    """

    patient_id: str
    estimate: RiskEstimate | None
    labels: dict[str, float]
    members: dict[str, float]
    member_survival: dict[str, tuple[float, ...]]
    probability: Probability | None
    contour: Contour
    covariates: dict[str, float]
    flags: tuple[Flag, ...]
    folders: StageFolders
    inputs: Mapping[str, Any]
    boxes: pd.DataFrame | None = None
    class_probability: Probability | None = None


def predict_patient(bundle: Bundle, patient: NewPatient, work: Path, compute: ComputeOptions) -> Prediction:
    """Predict one patient; the numbers are those the study would give an external patient, but for rounding.

    Args:
        bundle: The bundle, verified.
        patient: The patient to be predicted.
        work: Empty folder for what the stages write (images, UIDs); the caller removes it.
        compute: Device and threads of the networks.

    Raises:
        PatientError: The patient's data cannot be trusted.
        PipelineError: Clinical values are missing, or the bundle does not fit.
    """
    manifest = bundle.manifest
    flags = flagging.clinical_flags(manifest, patient.clinical) + box_flags(patient.box)
    folders = preprocess_patient(bundle, patient, work)
    times, scores = survival_times(manifest), MemberScores()
    inputs = NetworkInputs(folders.crop, clinical_row(manifest, patient), times)
    for name, network in manifest.networks().items():
        results = [run_network(bundle, fold, inputs, compute) for fold in network.folds]
        _add_network(scores, name, network, results)
    probability, of_classes = scores.mean_probability(), scores.mean_class_probability()
    contour: Contour = "none" if folders.contours is None else "given"
    features: dict[str, float] = {}
    if manifest.uses_radiomics:
        masks = None
        if folders.contours is None:
            contour = "predicted"
            assert probability is not None  # the bundle needs a contour where no member predicts one
            labels = predicted_labels(probability, of_classes, manifest.threshold)
            masks = _write_predicted(labels, patient.patient_id, work)
            flags.append(PREDICTED_CONTOUR)
        features = radiomics_features(bundle, patient.patient_id, folders, masks)
    for name, linear in manifest.linear_models().items():
        _add_linear(scores, name, linear, features, inputs.clinical, times)
    for member in manifest.logistic_models().values():
        scores.labels += [
            class_probabilities(member, fold, features, inputs.clinical) for fold in member.folds
        ]
    boxes = boxes_table(patient.patient_id, scores.boxes, folders.crop)
    estimate, covariates = estimate_risk(manifest, scores), patient_covariates(folders)
    flags += _image_flags(manifest, patient, covariates, probability, boxes)
    flags += _stage_flags(manifest, folders)
    flags += flagging.disagreement(estimate.spread) if estimate is not None else []
    flags += flagging.other_code(manifest, digest_of(manifest.members))
    return Prediction(
        patient_id=patient.patient_id,
        estimate=estimate,
        labels=scores.mean_labels(),
        members={name: float(np.mean(values)) for name, values in scores.z.items()},
        member_survival=scores.mean_survival(len(manifest.horizons_days)),
        probability=probability,
        class_probability=of_classes,
        contour=contour,
        covariates=covariates,
        flags=tuple(sorted(flags, key=lambda flag: flag.level != "warning")),
        folders=folders,
        inputs=inputs_of(manifest, patient, folders),
        boxes=boxes,
    )


def clinical_row(manifest: Manifest, patient: NewPatient) -> pd.DataFrame:
    """One row of the clinical columns, indexed by the patient's name; blank is missing."""
    import pandas as pd

    numbers = manifest.number_columns()
    row: dict[str, Any] = {}
    for name in manifest.clinical:
        text = patient.clinical[name]
        row[name] = (float(text) if text else math.nan) if name in numbers else (text or None)
    return pd.DataFrame([row], index=pd.Index([patient.patient_id], name="patient_id"))


def _add_network(
    scores: MemberScores, name: str, network: NetworkMember, results: list[NetworkResult]
) -> None:
    scores.results += results
    curves = [result.survival for result in results if result.survival is not None]
    if curves:
        scores.survival[name] = curves
    z = [_z_of(fold, result) for fold, result in zip(network.folds, results, strict=True)]
    known = [value for value in z if value is not None]
    if known:
        scores.z[name] = known
    boxes = [result.boxes for result in results if result.boxes is not None]
    if boxes:
        scores.boxes[name] = boxes


def _z_of(fold: NetworkFold, result: NetworkResult) -> float | None:
    """Z of a network in one fold; None where it does not predict survival."""
    if result.risk is None:
        return None
    if fold.scale is None:
        raise BundleError("a network that predicts survival has no Z-score", where=fold.weights)
    return z_score(fold.scale, result.risk)


def _add_linear(
    scores: MemberScores,
    name: str,
    member: LinearMember,
    features: Mapping[str, float],
    clinical: pd.DataFrame,
    times_days: tuple[float, ...],
) -> None:
    risks = [linear_risk(fold, features, clinical, log=member.log) for fold in member.folds]
    scores.z[name] = [z_score(fold.scale, risk) for fold, risk in zip(member.folds, risks, strict=True)]
    scores.survival[name] = [
        survival(fold.hazard, risk, times_days) for fold, risk in zip(member.folds, risks, strict=True)
    ]


def predicted_labels(
    probability: Probability, of_classes: Probability | None, threshold: float
) -> npt.NDArray[np.uint8]:
    """The predicted mask (Z, Y, X): 0 background, 1 tumour or 1, 2, … the classes.

    A voxel is tumour from the threshold on, and of the most probable class, of equal ones the first.

    Args:
        probability: (Z, Y, X) of tumour.
        of_classes: (K, Z, Y, X) of each class; None: there are none.
        threshold: Tumour probability from which a voxel belongs to the mask.
    """
    tumour = probability >= threshold
    if of_classes is None:
        return tumour.astype(np.uint8)
    return np.where(tumour, of_classes.argmax(axis=0) + 1, 0).astype(np.uint8)


def _write_predicted(labels: npt.NDArray[np.uint8], patient_id: str, work: Path) -> Path:
    from pipeline.training.outputs import write_masks

    write_masks(work / "masks.zarr", {patient_id: labels})
    return work / "masks.zarr"


def _image_flags(
    manifest: Manifest,
    patient: NewPatient,
    covariates: Mapping[str, float],
    probability: Probability | None,
    boxes: pd.DataFrame | None,
) -> list[Flag]:
    """What is unusual about the predicted mask, the boxes and the covariates.

    The volume of the predicted mask takes the place of the contour's where none was given.
    """
    numbers = manifest.number_columns()
    given = {name: float(text) for name, text in patient.clinical.items() if text and name in numbers}
    compared, flags = {**covariates, **given}, []
    if probability is not None:
        mask = probability >= manifest.threshold
        flags += _mask_flags(mask)
        if mask.any():
            compared.setdefault("lesion_ml", float(mask.sum() * np.prod(manifest.spacing_mm)) / 1000)
    if boxes is not None and boxes.empty:
        flags.append(Flag("warning", "boxes", "no network found a lesion"))
    return flags + flagging.out_of_domain(manifest, compared)


def _mask_flags(mask: npt.NDArray[np.bool_]) -> list[Flag]:
    if not mask.any():
        return [Flag("warning", "mask", NO_LESION)]
    faces = [mask.take(i, axis) for axis in range(3) for i in (0, -1) if mask.shape[axis] > 1]
    if any(face.any() for face in faces):
        return [Flag("warning", "mask", "the predicted mask touches the crop's border: part may be missing")]
    return []


def _stage_flags(manifest: Manifest, folders: StageFolders) -> list[Flag]:
    """What the stages flagged, and a scanner that is none of the study's."""
    flags = flagging.unknown_scanner(manifest, scanner_of(folders))
    flags += flagging.suv_flags(suv_record(folders))
    return flags + [Flag("note", "stages", text) for text in stage_warnings(folders)]
