"""The rule `bundle`: a finished study packed into a folder that predicts new patients."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from pipeline import __version__
from pipeline.deploy.bundle_files import digest_of, files_in, first_problem, write_manifest
from pipeline.deploy.cohort_facts import cohort_facts
from pipeline.deploy.manifest import (
    FEATURE_SET,
    FORMAT,
    LIBRARIES,
    MODEL_CARD,
    TEMPLATE,
    BundleError,
    Manifest,
    Software,
    StageSettings,
    StudyFacts,
)
from pipeline.deploy.manifest_members import Member
from pipeline.deploy.members import MemberFolds, pack_member, require_packable
from pipeline.deploy.model_card import CardFacts, model_card
from pipeline.metrics.risk_groups import cuts_by_fold
from pipeline.provenance import versions
from pipeline.settings.models import Model
from pipeline.settings.network import Network
from pipeline.settings.root import Settings
from pipeline.tables.outcomes import has_outcomes, read_outcomes
from pipeline.tables.splits import read_splits
from pipeline.tables.status import read_whole, stage_folder
from pipeline.tables.whole import whole_folder

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BundleJob:
    """A finished study.

    Attributes:
        results: Its folder, `results/{study}`.
        model: The model or ensemble that is packed.
        members: Models it averages, in order.
        folds: How often each model was trained: `plan.runs`.
        settings: All settings of the study. The bundle follows every stage, so it may read any section.
        feature_set: File of the radiomics feature set; None where radiomics is switched off.
    """

    results: Path
    model: str
    members: tuple[str, ...]
    folds: int
    settings: Settings
    feature_set: Path | None

    def models(self) -> dict[str, Model]:
        """Settings of the members."""
        return {name: self.settings.models[name] for name in self.members}


def write_bundle(job: BundleJob, out: Path) -> None:
    """Pack a study: settings, weights, coefficients, Z-scores, baseline hazards, cohort ranges.

    No outcome, no patient_id and no path of the study goes in. With `registration.method:
    template` the template does: a patient's image on the working grid, which `privacy` says.

    Args:
        job: The study.
        out: The bundle's folder.

    Raises:
        BundleError: A member can be written neither as weights nor as coefficients, or the
            study's images or crop cannot be made of a new patient.
    """
    require_packable(job.models())
    source = _scanner_images(job)
    _require_repeatable(job)
    with whole_folder(out) as folder:
        try:
            privacy = _fill(job, source, folder)
        except ValidationError as error:
            raise BundleError(
                "the study's results cannot be those of a bundle",
                where=str(job.results),
                got=first_problem(error),
                action="see whether the named model is fitted as it should be, and name another bundle.ensemble",
            ) from None
    for line in privacy:
        log.warning("%s", line)


def _fill(job: BundleJob, source: Literal["dicom", "nifti"], out: Path) -> tuple[str, ...]:
    """Write everything that a bundle holds; returns what has to be known of the patients in it."""
    models, settings = job.models(), job.settings
    ensemble = json.loads((job.results / "ensemble" / f"{job.model}.json").read_text(encoding="utf-8"))
    members, privacy = _pack_members(job, ensemble, out), _copy_files(job, out)
    # Named by the manifest, from which it is then written.
    (out / MODEL_CARD).touch()
    clinical = tuple(sorted({column for model in models.values() for column in model.clinical}))
    manifest = Manifest(
        format=FORMAT,
        software=Software(version=__version__, code=digest_of(members), libraries=versions(*LIBRARIES)),
        study=StudyFacts(
            name=settings.study.name,
            title=settings.study.title,
            note=settings.study.note,
            endpoint_name=settings.cohort.endpoint_name,
            time_unit=settings.cohort.time_unit,
        ),
        model=job.model,
        source=source,
        stages=stage_settings(job),
        members=members,
        channels=settings.crop.channels,
        shape=settings.crop.shape,
        spacing_mm=settings.crop.spacing_mm,
        clinical=clinical,
        needs_contour=_contour_reason(job),
        uses_radiomics=_uses_radiomics(job),
        horizons_days=tuple(sorted(set(settings.evaluation.horizons_days))),
        risk_cuts=_risk_cuts(job, ensemble),
        threshold=settings.bundle.threshold,
        cohort=cohort_facts(job, clinical),
        privacy=privacy,
        files=files_in(out),
    )
    (out / MODEL_CARD).write_text(model_card(manifest, _card_facts(job)), encoding="utf-8")
    write_manifest(out, manifest.model_copy(update={"files": files_in(out)}))
    return privacy


def _card_facts(job: BundleJob) -> CardFacts:
    """What the model card says of the study's evaluation."""
    import pandas as pd

    folder = job.results / "metrics"
    read_whole(folder)
    cohort = read_outcomes(job.results / "cohort.parquet")
    # A network with a subset ranks nobody and is no other's member, so that it is packed alone.
    subset = next((m.subset for m in job.models().values() if isinstance(m, Network) and m.subset), "")
    if subset:
        members = set(read_splits(job.results / "splits.json").subsets[subset])
        seen = cohort[cohort.index.isin(members)]
    else:
        seen = cohort
    external = _numbers(seen, "external")
    return CardFacts(
        pd.read_csv(folder / "metrics.csv"),
        external if external[0] else None,
        job.folds,
        cross_validated=job.settings.plan.folds > 1,
        learned=_numbers(seen, "development"),
        subset=subset,
        grouped="group" in cohort,
    )


def _numbers(cohort: pd.DataFrame, name: str) -> tuple[int, int | None]:
    """Numbers of patients of a set and their events; None without outcomes."""
    of_set = cohort[cohort["set"] == name]
    return len(of_set), int(of_set["event"].sum()) if has_outcomes(cohort) else None


def _pack_members(job: BundleJob, ensemble: Mapping[str, Any], out: Path) -> dict[str, Member]:
    """Members by name; weights of networks go to `out/weights/`."""
    members: dict[str, Member] = {}
    for name, model in job.models().items():
        folders = tuple(job.results / "models" / name / f"fold{fold}" for fold in range(job.folds))
        for folder in folders:
            read_whole(folder)
        members[name] = pack_member(MemberFolds(name, model, folders, ensemble["members"][name]), out)
    return members


def _uses_radiomics(job: BundleJob) -> bool:
    """Whether a member reads radiomics features."""
    return any(model.needs.radiomics for model in job.models().values())


def _scanner_images(job: BundleJob) -> Literal["dicom", "nifti"]:
    """Kind of the study's images, which must be of scanners."""
    source = job.settings.cohort.source
    if source == "dicom" or source == "nifti":
        return source
    raise BundleError(
        "a bundle is made for scanner images", where="cohort.source", expected="dicom, nifti", got=source
    )


def _require_repeatable(job: BundleJob) -> None:
    """Refuse studies whose stages cannot be repeated for a new patient."""
    settings = job.settings
    if settings.plan.folds == 1 and any(model.ranks() for model in job.models().values()):
        raise BundleError(
            "without test patients there are no risks that a new patient's could be placed among",
            where="plan.folds: 1",
            expected="2 folds or more",
            action="train with folds, external patients or not",
        )
    if _uses_radiomics(job) and settings.radiomics.images != "crop":
        raise BundleError(
            "a bundle takes radiomics from the crop",
            where="radiomics.images",
            expected="crop",
            got=settings.radiomics.images,
        )


def _risk_cuts(job: BundleJob, ensemble: Mapping[str, Any]) -> tuple[float, ...]:
    """Mean cuts over folds; none where no member predicts survival."""
    if not ensemble["folds"]:
        return ()
    return tuple(cuts_by_fold(ensemble, job.settings.evaluation.risk_groups)[-1].tolist())


def stage_settings(job: BundleJob) -> StageSettings:
    """Settings of the per-patient stages; paths and ids of the study left out."""
    settings, crop = job.settings, job.settings.crop.model_copy(update={"boxes": ""})
    if crop.position == "fixed" and crop.centre_mm is None:
        position = json.loads((job.results / "crop_position.json").read_text(encoding="utf-8"))
        crop = crop.model_copy(update={"centre_mm": tuple(position["centre_mm"])})
    return StageSettings(
        nifti=settings.cohort.nifti(),
        index=settings.index,
        convert=settings.convert,
        suv=settings.suv,
        contours=settings.contours,
        registration=settings.registration.model_copy(update={"template": "auto"}),
        crop=crop,
        radiomics=settings.radiomics.model_copy(update={"feature_set": FEATURE_SET}),
    )


def _contour_reason(job: BundleJob) -> str:
    """Why a new patient needs a contour; empty where he needs none."""
    if job.settings.crop.position == "lesion":
        return "the crop is centred on the contour (crop.position: lesion)"
    models = job.models()
    masked = [name for name, model in models.items() if model.needs.manual_mask]
    if masked:
        return f"the contour is multiplied onto the image of {', '.join(masked)}"
    segments = any("mask" in model.gives() for model in models.values())
    if _uses_radiomics(job) and not segments:
        return "features are taken from the contour, and no member predicts one"
    return ""


def _copy_files(job: BundleJob, out: Path) -> tuple[str, ...]:
    """Copy template and feature set; returns what has to be known of the patients in them."""
    if _uses_radiomics(job):
        if job.feature_set is None:
            raise BundleError("a member reads radiomics features, and there is no feature set")
        shutil.copyfile(job.feature_set, out / FEATURE_SET)
    privacy = ["ranges of the development patients, widened as their number asks, no outcomes, no ids"]
    if job.settings.registration.method == "template":
        source = job.results / "template"
        read_whole(source)
        template = json.loads((source / "template.json").read_text(encoding="utf-8"))
        of_patient = template["source"] != "file"
        template |= {"patient_id": "", "candidates": 0, "seed": 0}
        text = json.dumps(template, indent=2) + "\n"
        with stage_folder("template", out / TEMPLATE) as folder:
            (folder / "template.json").write_text(text, encoding="utf-8")
            shutil.copyfile(source / "template.nii.gz", folder / "template.nii.gz")
        if of_patient:
            privacy.append(
                f"{TEMPLATE}/template.nii.gz is one development patient's {template['modality'].upper()} at "
                f"{template['working_mm']:g} mm, face and body surface included: share the bundle only where "
                "that image may go, or train with registration.method: none or a public template file"
            )
    return tuple(privacy)
