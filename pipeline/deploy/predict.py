"""A new patient from images to a prediction."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.deploy import flags as flagging
from pipeline.deploy.boxes import boxes_table
from pipeline.deploy.covariate_shift import PatientStages, measure, scanner_of
from pipeline.deploy.flags import Flag
from pipeline.deploy.linear import linear_risk, survival, z_score
from pipeline.deploy.manifest import (
    BundleError,
    LinearMember,
    Manifest,
    NetworkFold,
    NetworkMember,
    digest_of,
)
from pipeline.deploy.networks import NetworkPatient, NetworkResult, run_network
from pipeline.deploy.preprocess import NewPatient, features_of, run_stages, warnings_of

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.training.detections import Box


@dataclass(frozen=True)
class Prediction:
    """What the bundle says of a patient.

    Attributes:
        patient_id: The name given.
        risk: Mean over folds of the members' mean Z; higher = worse. None, as all that follows
            from it, where no member predicts survival.
        spread: SD over folds of that Z.
        percentile: Of the risk among the development patients' held-out risks, 0 to 100.
        group: Risk group, 1 the lowest; cut on training patients.
        survival: Probability by horizon in days; NaN beyond the study's follow-up; else empty.
        labels: Probability by label, mean over folds and networks.
        members: Mean Z by member that predicts survival.
        probability: (Z, Y, X) mean tumour probability on the crop without margin, or None.
        contour: `given`, `predicted` (features were taken from it) or `none`.
        measures: Quantities compared with the development patients.
        flags: What has to be known.
        stages: What the per-patient stages left.
        boxes: See :func:`pipeline.deploy.boxes.boxes_table`; None where no network detects.
    """

    patient_id: str
    risk: float | None
    spread: float | None
    percentile: float | None
    group: int | None
    survival: dict[float, float]
    labels: dict[str, float]
    members: dict[str, float]
    probability: npt.NDArray[np.float32] | None
    contour: str
    measures: dict[str, float]
    flags: tuple[Flag, ...]
    stages: PatientStages
    boxes: pd.DataFrame | None = None


@dataclass
class MemberScores:
    """Per fold: Z and survival of members that predict survival; maps, labels and boxes of networks."""

    z: dict[str, list[float]] = field(default_factory=dict)
    survival: list[list[float]] = field(default_factory=list)
    results: list[NetworkResult] = field(default_factory=list)
    boxes: dict[str, list[list[Box]]] = field(default_factory=dict)


def predict_patient(
    bundle: Path, manifest: Manifest, patient: NewPatient, work: Path, machine: Mapping[str, Any]
) -> Prediction:
    """Predict one patient; the numbers are those the study would give an external patient, but for rounding.

    Args:
        bundle: The bundle's folder.
        manifest: Its manifest, checked.
        patient: Whom.
        work: Empty folder for what the stages leave (images, UIDs); the caller removes it.
        machine: `device` and `threads`.

    Raises:
        PatientError: The patient's data cannot be trusted.
        PipelineError: Clinical values are missing, or the bundle does not fit.
    """
    told = flagging.clinical_flags(manifest, patient.clinical)
    stages, contours = run_stages(bundle, manifest, patient, work)
    clinical = clinical_row(manifest, patient)
    scores = MemberScores()
    given = NetworkPatient(stages.crop, clinical, **machine)
    for name, member in manifest.members.items():
        if isinstance(member, NetworkMember):
            found = [run_network(bundle, manifest, fold, given) for fold in member.folds]
            scores.results += found
            scores.survival += [one.survival for one in found if one.survival is not None]
            z = [_z_of(*pair) for pair in zip(member.folds, found, strict=True)]
            ranks = [value for value in z if value is not None]
            if ranks:
                scores.z[name] = ranks
            boxes = [one.boxes for one in found if one.boxes is not None]
            if boxes:
                scores.boxes[name] = boxes
    probability = _mean_map(scores.results)
    contour = "given" if contours is not None else "none"
    features: dict[str, float] = {}
    if manifest.uses_radiomics:
        masks = None
        if contours is None:
            contour = "predicted"
            masks = _write_predicted(probability, manifest.threshold, patient.patient_id, work)
            told.append(
                Flag(
                    "warning",
                    "contour",
                    "features were taken from the predicted contour; the study's were drawn by hand",
                )
            )
        features = features_of(bundle, manifest, stages.crop, masks)
    for name, member in manifest.members.items():
        if isinstance(member, LinearMember):
            _score_linear(manifest, name, member, (features, clinical), scores)
    return _joined(manifest, patient, stages, (scores, probability, contour), told, contours)


def _z_of(fold: NetworkFold, found: NetworkResult) -> float | None:
    """Z of a network in one fold; None where it does not predict survival."""
    if found.risk is None:
        return None
    if fold.scale is None:
        raise BundleError("a network that predicts survival has no Z-score", where=fold.weights)
    return z_score(fold.scale, found.risk)


def clinical_row(manifest: Manifest, patient: NewPatient) -> pd.DataFrame:
    """One row of the clinical columns, indexed by the patient's name; blank is missing."""
    import pandas as pd

    numbers = flagging.number_columns(manifest)
    row: dict[str, Any] = {}
    for name in manifest.clinical:
        text = patient.clinical[name]
        row[name] = (float(text) if text else math.nan) if name in numbers else (text or None)
    return pd.DataFrame([row], index=pd.Index([patient.patient_id], name="patient_id"))


def _score_linear(
    manifest: Manifest,
    name: str,
    member: LinearMember,
    given: tuple[Mapping[str, float], pd.DataFrame],
    scores: MemberScores,
) -> None:
    features, clinical = given
    scores.z[name] = []
    for fold in member.folds:
        risk = linear_risk(fold, features, clinical, log=member.log)
        scores.z[name].append(z_score(fold.scale, risk))
        scores.survival.append(survival(fold.hazard, risk, manifest.horizons_days))


def _mean_map(results: list[NetworkResult]) -> npt.NDArray[np.float32] | None:
    maps = [one.probability for one in results if one.probability is not None]
    return np.stack(maps).mean(axis=0, dtype=np.float64).astype(np.float32) if maps else None


def _write_predicted(
    probability: npt.NDArray[np.float32] | None, threshold: float, patient_id: str, work: Path
) -> Path:
    from pipeline.training.outputs import write_masks

    assert probability is not None  # the bundle needs a contour where no member draws one
    write_masks(work / "masks.zarr", {patient_id: (probability >= threshold).astype(np.uint8)})
    return work / "masks.zarr"


def _joined(
    manifest: Manifest,
    patient: NewPatient,
    stages: PatientStages,
    found: tuple[MemberScores, npt.NDArray[np.float32] | None, str],
    told: list[Flag],
    contours: Path | None,
) -> Prediction:
    scores, probability, contour = found
    measures = measure(stages)
    account = json.loads((stages.suv / "suv.json").read_text(encoding="utf-8"))
    known = {**measures, **_numbers(manifest, patient)}
    if probability is not None:
        told += _mask_flags(manifest, probability, known)
    boxes = boxes_table(patient.patient_id, scores.boxes, stages.crop)
    if boxes is not None and boxes.empty:
        told.append(Flag("warning", "boxes", "no network found a lesion"))
    told += flagging.out_of_domain(manifest, known)
    told += flagging.unknown_scanner(manifest, scanner_of(stages))
    told += flagging.suv_flags(account)
    told += [Flag("note", "stages", text) for text in warnings_of(stages, contours)]
    of_risk = ranked(manifest, scores)
    told += flagging.disagreement(of_risk["spread"]) if of_risk["spread"] is not None else []
    told += flagging.other_code(manifest, digest_of(manifest.members))
    names = sorted({name for one in scores.results for name in one.labels})
    return Prediction(
        patient_id=patient.patient_id,
        **of_risk,
        labels={n: float(np.mean([o.labels[n] for o in scores.results if n in o.labels])) for n in names},
        members={name: float(np.mean(values)) for name, values in scores.z.items()},
        probability=probability,
        contour=contour,
        measures=measures,
        flags=tuple(sorted(told, key=lambda flag: flag.level != "warning")),
        stages=stages,
        boxes=boxes,
    )


def ranked(manifest: Manifest, scores: MemberScores) -> dict[str, Any]:
    """Risk, spread, percentile, group and survival of a prediction; None and empty without risk."""
    if not scores.z:
        return {"risk": None, "spread": None, "percentile": None, "group": None, "survival": {}}
    by_fold = np.mean([scores.z[name] for name in manifest.members if name in scores.z], axis=0)
    risk = float(by_fold.mean())
    curve = np.mean(np.array(scores.survival, dtype=float), axis=0)
    return {
        "risk": risk,
        "spread": float(by_fold.std(ddof=1)) if len(by_fold) > 1 else 0.0,
        "percentile": percentile_of(risk, manifest.cohort.risk_percentiles),
        "group": 1 + int(np.searchsorted(np.array(manifest.risk_cuts), risk, side="left")),
        "survival": dict(zip(manifest.horizons_days, curve.tolist(), strict=True)),
    }


def _numbers(manifest: Manifest, patient: NewPatient) -> dict[str, float]:
    numbers = flagging.number_columns(manifest)
    return {name: float(text) for name, text in patient.clinical.items() if text and name in numbers}


def _mask_flags(
    manifest: Manifest, probability: npt.NDArray[np.float32], known: dict[str, float]
) -> list[Flag]:
    """What is odd about the predicted mask; its volume stands in where no contour was given."""
    mask = probability >= manifest.threshold
    if not mask.any():
        return [Flag("warning", "mask", "the networks found no lesion")]
    known.setdefault("lesion_ml", float(mask.sum() * np.prod(manifest.spacing_mm)) / 1000)
    faces = [mask.take(i, axis) for axis in range(3) for i in (0, -1) if mask.shape[axis] > 1]
    if any(face.any() for face in faces):
        return [Flag("warning", "mask", "the predicted mask touches the crop's border: part may be missing")]
    return []


def percentile_of(risk: float, percentiles: tuple[float, ...]) -> float:
    """Where a risk lies among the development patients, interpolated between every 5 %."""
    return float(np.interp(risk, percentiles, np.linspace(0, 100, len(percentiles))))
