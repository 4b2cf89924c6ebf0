"""The rule `bundle`: a finished study packed into a folder that predicts new patients."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import __version__
from pipeline.deploy.covariate_shift import PatientStages, measure, scanner_of
from pipeline.deploy.manifest import (
    FEATURE_SET,
    FORMAT,
    TEMPLATE,
    BundleError,
    CohortFacts,
    Manifest,
    Member,
    Span,
    digest_of,
    write_manifest,
)
from pipeline.deploy.members import WITHOUT_FEATURES, Folds, is_network, pack_member, require_packable
from pipeline.metrics.risk_groups import cuts_by_fold
from pipeline.nets.registry import network_settings
from pipeline.provenance import file_sha256, versions
from pipeline.tables.outcomes import has_outcomes, read_outcomes

log = logging.getLogger(__name__)
LIBRARIES = ("torch", "numpy", "SimpleITK", "antspyx", "pyradiomics", "pydicom")
STAGES = ("index", "convert", "suv", "contours", "registration", "crop", "radiomics")
NIFTI_KEYS = ("source", "nifti_ct", "nifti_pet", "nifti_pet_quantity")
PERCENTILES = tuple(range(0, 101, 5))


@dataclass(frozen=True)
class BundleJob:
    """A finished study.

    Attributes:
        results: Its folder, `results/{study}`.
        model: The model or ensemble that is packed.
        members: Models it averages, in order.
        folds: How many.
        settings: All settings as plain values.
        feature_set: File of the radiomics feature set; None where radiomics is switched off.
    """

    results: Path
    model: str
    members: tuple[str, ...]
    folds: int
    settings: Mapping[str, Any]
    feature_set: Path | None


def write_bundle(job: BundleJob, out: Path) -> None:
    """Pack a study: settings, weights, coefficients, Z-scores, baseline hazards, cohort ranges.

    No outcome, no patient_id and no path of the study goes in. With `registration.method:
    template` the template does: a patient's image on the working grid, which `privacy` says.

    Raises:
        BundleError: A member can be written neither as weights nor as coefficients, or the
            study's images or crop cannot be made of a new patient.
    """
    models = {name: job.settings["models"][name] for name in job.members}
    require_packable(models)
    _require_repeatable(job, models)
    info = json.loads((job.results / "ensemble" / f"{job.model}.json").read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    members: dict[str, Member] = {}
    for name, settings in models.items():
        folders = tuple(job.results / "models" / name / f"fold{fold}" for fold in range(job.folds))
        members[name] = pack_member(Folds(name, settings, folders, info["members"][name]), out)
    privacy = _copy_files(job, models, out)
    crop = job.settings["crop"]
    clinical = tuple(sorted({column for m in models.values() for column in m.get("clinical", ())}))
    manifest = Manifest(
        format=FORMAT,
        software={"version": __version__, "code": digest_of(members), **versions(*LIBRARIES)},
        study={**{k: job.settings["study"][k] for k in ("name", "title", "note")}, **_endpoint(job)},
        model=job.model,
        source=job.settings["cohort"]["source"],
        sections=_sections(job),
        members=members,
        channels=("pet", "ct"),
        shape=crop["shape"],
        spacing_mm=crop["spacing_mm"],
        clinical=clinical,
        needs_contour=_contour_reason(job, models),
        uses_radiomics=any(map(uses_features, models.values())),
        horizons_days=job.settings["evaluation"]["horizons_days"],
        risk_cuts=_risk_cuts(job, info),
        threshold=job.settings["bundle"]["threshold"],
        cohort=cohort_facts(job, clinical),
        privacy=privacy,
        files={p.relative_to(out).as_posix(): file_sha256(p) for p in sorted(out.rglob("*")) if p.is_file()},
    )
    write_manifest(out, manifest)
    for line in privacy:
        log.warning("%s", line)


def uses_features(settings: Mapping[str, Any]) -> bool:
    """Whether a model reads radiomics features."""
    return not is_network(settings) and settings["kind"] not in WITHOUT_FEATURES


def draws_mask(settings: Mapping[str, Any]) -> bool:
    """Whether a model is a network that segments."""
    return is_network(settings) and "mask" in network_settings(settings).gives()


def _require_repeatable(job: BundleJob, models: Mapping[str, Mapping[str, Any]]) -> None:
    settings = job.settings
    source, position = settings["cohort"]["source"], settings["crop"]["position"]
    if source not in ("dicom", "nifti"):
        raise BundleError(
            "a bundle is made for scanner images", where="cohort.source", expected="dicom, nifti", got=source
        )
    if position == "box":
        raise BundleError(
            "a new patient has no row in the table of boxes",
            where="crop.position: box",
            action="train with crop.position fixed, brain_anchored or lesion",
        )
    if settings["plan"]["folds"] == 1:
        raise BundleError(
            "without test patients there are no risks that a new patient's could be placed among",
            where="plan.folds: 1",
            expected="2 folds or more",
            action="train with folds, external patients or not",
        )
    if any(map(uses_features, models.values())) and settings["radiomics"]["images"] != "crop":
        raise BundleError(
            "a bundle takes radiomics from the crop",
            where="radiomics.images",
            expected="crop",
            got=settings["radiomics"]["images"],
        )


def _risk_cuts(job: BundleJob, info: Mapping[str, Any]) -> tuple[float, ...]:
    """Mean cuts over folds; none where no member predicts survival."""
    if not info["folds"]:
        return ()
    return tuple(cuts_by_fold(info, job.settings["evaluation"]["risk_groups"])[-1].tolist())


def _endpoint(job: BundleJob) -> dict[str, str]:
    return {"endpoint_name": job.settings["cohort"]["endpoint_name"]}


def _sections(job: BundleJob) -> dict[str, dict[str, Any]]:
    """Settings of the per-patient stages; paths and ids of the study left out."""
    found = {name: dict(job.settings[name]) for name in STAGES}
    found["cohort"] = {key: job.settings["cohort"][key] for key in NIFTI_KEYS}
    found["registration"]["template"] = "auto"
    found["radiomics"]["feature_set"] = FEATURE_SET
    found["crop"]["boxes"] = ""
    if found["crop"]["position"] == "fixed" and found["crop"]["centre_mm"] is None:
        position = json.loads((job.results / "crop_position.json").read_text(encoding="utf-8"))
        found["crop"]["centre_mm"] = position["centre_mm"]
    return found


def _contour_reason(job: BundleJob, models: Mapping[str, Mapping[str, Any]]) -> str:
    if job.settings["crop"]["position"] == "lesion":
        return "the crop is centred on the contour (crop.position: lesion)"
    masked = [n for n, m in models.items() if m.get("masked", False) or m["kind"] == "cnn_survival"]
    if masked:
        return f"the contour is multiplied onto the image of {', '.join(masked)}"
    draws = any(map(draws_mask, models.values()))
    if any(map(uses_features, models.values())) and not draws:
        return "features are taken from the contour, and no member draws one"
    return ""


def _copy_files(job: BundleJob, models: Mapping[str, Mapping[str, Any]], out: Path) -> tuple[str, ...]:
    """Template and feature set; returns what has to be known of the patients in them."""
    if any(map(uses_features, models.values())):
        if job.feature_set is None:
            raise BundleError("a member reads radiomics features, and there is no feature set")
        shutil.copyfile(job.feature_set, out / FEATURE_SET)
    told = ["ranges of the development patients (1st to 99th percentile), no outcomes, no ids"]
    if job.settings["registration"]["method"] == "template":
        source = job.results / "template"
        facts = json.loads((source / "template.json").read_text(encoding="utf-8"))
        patient = facts["source"] != "file"
        facts |= {"patient_id": "", "candidates": 0, "seed": 0}
        (out / TEMPLATE).mkdir(exist_ok=True)
        (out / TEMPLATE / "template.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(source / "template.nii.gz", out / TEMPLATE / "template.nii.gz")
        if patient:
            told.append(
                f"{TEMPLATE}/template.nii.gz is one development patient's {facts['modality'].upper()} at "
                f"{facts['working_mm']:g} mm, face and body surface included: share the bundle only where "
                "that image may go, or train with registration.method: none or a public template file"
            )
    return tuple(told)


def cohort_facts(job: BundleJob, clinical: Iterable[str]) -> CohortFacts:
    """Ranges over the usable development patients, and levels of the clinical columns that members use."""
    import pandas as pd

    cohort = read_outcomes(job.results / "cohort.parquet")
    cohort = cohort[cohort["set"] == "development"]
    rows, scanners = [], set()
    for patient_id in cohort.index:
        convert, suv, registration = (
            job.results / stage / patient_id for stage in ("convert", "suv", "registration")
        )
        stages = PatientStages(convert, suv, registration, job.results / "crops" / f"{patient_id}.zarr")
        rows.append(measure(stages))
        scanners.add(scanner_of(stages))
    table = pd.DataFrame(rows)
    levels: dict[str, tuple[str, ...]] = {}
    for name in clinical:
        if cohort[name].dtype.kind in "fiub":
            table[name] = cohort[name].to_numpy(dtype=float)
        else:
            levels[name] = tuple(sorted({str(v) for v in cohort[name].dropna()}))
    spans = {}
    for name in table.columns:
        known = table[name].dropna().to_numpy(dtype=float)
        if len(known):
            low, high = np.percentile(known, [1, 99])
            spans[str(name)] = Span(low=float(low), high=float(high), patients=len(known))
    risks = pd.read_parquet(job.results / "ensemble" / f"{job.model}.parquet")
    percentiles: tuple[float, ...] = ()
    if "risk" in risks:
        held = risks.loc[risks["set"] == "development", "risk"].to_numpy(dtype=float)
        percentiles = tuple(np.percentile(held, PERCENTILES).tolist())
    return CohortFacts(
        spans=spans,
        scanners=tuple(sorted(s for s in scanners if s)),
        levels=levels,
        risk_percentiles=percentiles,
        patients=len(cohort),
        events=int(cohort["event"].sum()) if has_outcomes(cohort) else None,
    )
