"""A prediction as files: JSON, a page, the mask as NIfTI and as DICOM SEG."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.deploy.answerable import answerable
from pipeline.deploy.boxes import FILE as BOXES
from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.covariate_shift import covariate_title
from pipeline.deploy.estimate import FoldRange, PatientCurve, RiskEstimate
from pipeline.deploy.figures import CropView, curve_png, planes_png
from pipeline.deploy.manifest import MODEL_CARD, Manifest
from pipeline.deploy.predict import Prediction, predicted_labels
from pipeline.tables.time_units import horizon_name
from pipeline.volumes.grids import sub_grid
from pipeline.volumes.nifti import read_grid, write_nifti
from pipeline.volumes.resample import Sampling, resample
from pipeline.volumes.transform import inverse
from pipeline.volumes.volume import Volume

Modality = Literal["ct", "pet"]
TEMPLATES = Path(__file__).parent / "templates"
PREDICTION, PAGE = "prediction.json", "report.html"
VOLUMES: dict[Modality, str] = {"ct": "ct_hu.nii.gz", "pet": "pet_stored.nii.gz"}
"""Converted image whose grid the mask gets."""


@dataclass(frozen=True)
class PageOptions:
    """What a prediction's files show beside the prediction.

    Attributes:
        identity: Whether the SEG keeps patient and study attributes, for an archive.
        expected: Whether the bundle was compared with an identity that was asked for.
    """

    identity: bool = False
    expected: bool = False


def write_prediction(
    bundle: Bundle, prediction: Prediction, out: Path, options: PageOptions = PageOptions()
) -> None:
    """Write `prediction.json`, `report.html`, the mask (where a network segments), the boxes (where one detects).

    The mask, `mask_ct.nii.gz`, lies on the CT's grid; of a bundle that sees the PET alone,
    `mask_pet.nii.gz` lies on the PET's. It is also written as DICOM SEG (`mask_ct_seg.dcm`) where the
    images are DICOM and it is not empty. No file holds a name, number, date or UID of the patient, unless
    `options.identity` asks the SEG to, or the patient's `scan_date` the page.

    Args:
        bundle: The bundle that predicted.
        prediction: The prediction.
        out: Folder that receives the files.
        options: What they show beside the prediction.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest, volume, of_classes = bundle.manifest, None, dict[str, float]()
    if prediction.probability is not None:
        mask, image = mask_on_image(manifest, prediction), masked_image(manifest)
        volume = float((mask.array > 0).sum()) * mask.grid.voxel_ml()
        of_classes = _class_volumes(manifest, prediction, mask)
        write_nifti(out / f"mask_{image}.nii.gz", mask)
        if manifest.source == "dicom" and mask.array.any():
            path = out / f"mask_{image}_seg.dcm"
            _write_seg(prediction, mask, image, path, names=tuple(of_classes), identity=options.identity)
    if prediction.boxes is not None:
        prediction.boxes.to_csv(out / BOXES, index=False)
    content = {
        **_plain(manifest, prediction),
        "mask_ml": volume,
        "class_ml": of_classes,
        "bundle": _provenance(bundle),
    }
    (out / PREDICTION).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / PAGE).write_text(
        page(bundle, prediction, MaskVolumes(volume, of_classes), options), encoding="utf-8"
    )


def masked_image(manifest: Manifest) -> Modality:
    """The image whose grid predicted masks get: the CT, or the PET of a bundle that sees no CT."""
    return "ct" if "ct" in manifest.channels else "pet"


def mask_on_image(manifest: Manifest, prediction: Prediction) -> Volume:
    """The mean tumour probability resampled to the image's grid and thresholded there (uint8, 0 or 1).

    With classes the values are their labels 1, 2, …: the class with the largest probability, each resampled.
    """
    from pipeline.store.crops import read_attributes, read_crop

    assert prediction.probability is not None
    attributes = read_attributes(prediction.folders.crop)
    stored = attributes.grid(read_crop(prediction.folders.crop).inside.shape)
    margin = [0 if n == 1 else attributes.margin for n in stored.shape]
    a, b, c = (slice(m, n - m) for m, n in zip(margin, stored.shape, strict=True))
    image = masked_image(manifest)
    grid = read_grid(prediction.folders.convert / VOLUMES[image])
    # A PET of another frame of reference has a transform of its own.
    own = attributes.pet_transform if image == "pet" else None
    to_crop = inverse(np.asarray(own or attributes.transform, dtype=np.float64))
    inner = Volume(prediction.probability, sub_grid(stored, (a, b, c)))
    sampling, of_classes = Sampling("linear", 0.0), None
    probability = resample(inner, grid, to_crop, sampling)
    if prediction.class_probability is not None:
        of_classes = np.stack(
            [resample(replace(inner, array=p), grid, to_crop, sampling) for p in prediction.class_probability]
        )
    return Volume(predicted_labels(probability, of_classes, manifest.threshold), grid, "mask")


def _class_volumes(manifest: Manifest, prediction: Prediction, mask: Volume) -> dict[str, float]:
    """Class of the mask → its volume (mL), in the order of labels; empty where it tells none apart."""
    if prediction.class_probability is None:
        return {}
    names = manifest.stages.contours.class_names()
    return {
        name: float((mask.array == label).sum()) * mask.grid.voxel_ml()
        for label, name in enumerate(names, start=1)
    }


def _write_seg(
    prediction: Prediction,
    mask: Volume,
    image: Modality,
    path: Path,
    *,
    names: tuple[str, ...],
    identity: bool,
) -> None:
    from pipeline.dicom.contours.seg_write import TUMOUR, write_segmentation
    from pipeline.dicom.series.index_file import chosen, files_of, read_index

    index = read_index(prediction.folders.convert.parents[1] / "index" / prediction.patient_id)
    files = files_of(index, chosen(index, image))
    labels = tuple(f"{name} (predicted)" for name in names) or (TUMOUR,)
    write_segmentation(mask, files, path, labels=labels, identity=identity)


def _plain(manifest: Manifest, prediction: Prediction) -> dict[str, Any]:
    estimate = prediction.estimate
    survival = {} if estimate is None else estimate.survival
    return {
        "patient_id": prediction.patient_id,
        "risk": estimate and estimate.risk,
        "spread": estimate and estimate.spread,
        "percentile": estimate and estimate.percentile,
        "risk_group": estimate and estimate.group,
        "survival": {f"{days:g}": None if math.isnan(p) else p for days, p in survival.items()},
        "percentile_of_folds": None
        if estimate is None or estimate.percentiles is None
        else asdict(estimate.percentiles),
        "survival_of_folds": _ranges(estimate),
        "survival_curve": _curve_values(_curve(prediction)),
        "verdict": asdict(answerable(prediction.flags, manifest.cohort.patients)),
        "survival_times": {f"{days:g}": horizon_name(days, manifest.study.time_unit) for days in survival},
        "labels": prediction.labels,
        "members": prediction.members,
        "boxes": None if prediction.boxes is None else len(prediction.boxes),
        "contour": prediction.contour,
        "covariates": prediction.covariates,
        "inputs": dict(prediction.inputs),
        "flags": [asdict(flag) for flag in prediction.flags],
        "warnings": sum(flag.level == "warning" for flag in prediction.flags),
    }


def _ranges(estimate: RiskEstimate | None) -> dict[str, dict[str, float | None]]:
    """Range of the folds by horizon; None: not known."""
    ranges = {} if estimate is None else estimate.survival_ranges
    return {
        f"{days:g}": {name: None if math.isnan(v) else v for name, v in asdict(known).items()}
        for days, known in ranges.items()
    }


def _curve_values(curve: PatientCurve | None) -> dict[str, list[float]] | None:
    """The survival curve as plain values: times, mean, lowest and highest fold."""
    if curve is None:
        return None
    parts = {
        "days": curve.days,
        "mean": curve.mean,
        "low": curve.by_fold.min(0),
        "high": curve.by_fold.max(0),
    }
    return {name: [round(float(value), 6) for value in values] for name, values in parts.items()}


def _provenance(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    software = manifest.software.model_dump()
    names = {"study": manifest.study.name, "model": manifest.model}
    return {"identity": bundle.identity, "format": manifest.format, **names, "software": software}


@dataclass(frozen=True)
class MaskVolumes:
    """Volumes of the predicted mask (mL): of all, None without mask; and by class, empty where it tells none apart."""

    whole: float | None
    classes: Mapping[str, float]


def page(bundle: Bundle, prediction: Prediction, volumes: MaskVolumes, options: PageOptions) -> str:
    """The page; every value is escaped by the template engine.

    Args:
        bundle: The bundle that predicted.
        prediction: The prediction.
        volumes: Volumes of the predicted mask.
        options: What the page shows beside the prediction.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from pipeline.store.crops import read_crop

    manifest, labels = bundle.manifest, None
    if prediction.probability is not None:
        labels = predicted_labels(prediction.probability, prediction.class_probability, manifest.threshold)
    view, curve = CropView.of(read_crop(prediction.folders.crop), labels), _curve(prediction)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("patient.html.j2").render(
        manifest=manifest,
        identity=bundle.identity,
        expected=options.expected,
        verdict=answerable(prediction.flags, manifest.cohort.patients),
        card=bundle.path(MODEL_CARD).read_text(encoding="utf-8"),
        prediction=prediction,
        volume=volumes.whole,
        of_classes=volumes.classes,
        image=planes_png(view),
        contours=view.drawn(),
        curve="" if curve is None else curve_png(curve, manifest.study.time_unit),
        covariates=[(covariate_title(name), value) for name, value in prediction.covariates.items()],
        warnings=[flag for flag in prediction.flags if flag.level == "warning"],
        notes=[flag for flag in prediction.flags if flag.level == "note"],
        survival=_survival_rows(manifest, prediction),
    )


def _curve(prediction: Prediction) -> PatientCurve | None:
    """The survival curve; None where nothing predicts survival, or at horizons only."""
    return None if prediction.estimate is None else prediction.estimate.curve


def _survival_rows(manifest: Manifest, prediction: Prediction) -> list[tuple[str, float, FoldRange | None]]:
    """Survival probabilities with their times in the study's unit, and the range of the folds."""
    estimate = prediction.estimate
    if estimate is None:
        return []
    return [
        (horizon_name(days, manifest.study.time_unit), value, estimate.survival_ranges.get(days))
        for days, value in estimate.survival.items()
    ]
