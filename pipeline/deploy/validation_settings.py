"""The settings of an external validation, as a study's: they all come from the bundle and the cohort table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pipeline.deploy.bundle_files import first_problem
from pipeline.deploy.manifest import BundleError, Manifest, TimeUnit
from pipeline.deploy.manifest_members import LinearMember, Member, NetworkMember
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.root import Settings


@dataclass(frozen=True)
class ValidationTable:
    """The cohort table of the patients that a bundle is judged on, and how to read it.

    Attributes:
        path: CSV with a row per patient, as a study's.
        image_root: Folder that its column `image_path` starts from.
        columns: Column of a cohort table → the table's own name of it.
        time_unit: Unit of its times; empty: that of the bundle's study.
        endpoint: Endpoint whose outcomes are taken, as `cohort.endpoint` of a study.
    """

    path: Path
    image_root: Path
    columns: dict[str, str]
    time_unit: TimeUnit | Literal[""] = ""
    endpoint: str = ""


def cohort_settings(manifest: Manifest, table: ValidationTable) -> CohortSettings:
    """How the table is read: rows without a set are external, files of NIfTI are named as in the bundle's study.

    Raises:
        BundleError: Times with a unit meet a bundle whose study had none, or the other way round.
    """
    unit = table.time_unit or manifest.study.time_unit
    if (unit == "none") != (manifest.study.time_unit == "none"):
        raise BundleError(
            "the table's times and the bundle's have no common unit",
            where="--time-unit",
            expected=manifest.study.time_unit,
            got=unit,
            action="give the unit of the table's times, which must be one that the bundle's study can have had",
        )
    return CohortSettings(
        source=manifest.source,
        table=str(table.path),
        # Resolved, so that it cannot be taken for the folder that a phantom's generator fills.
        image_root=str(table.image_root.resolve()),
        columns=table.columns,
        fill={"set": "external"},
        time_unit=unit,
        endpoint=table.endpoint,
        endpoint_name=manifest.study.endpoint_name,
        **manifest.stages.nifti.model_dump(),
    )


def validation_settings(
    manifest: Manifest, cohort: CohortSettings, viewer: Literal["off", "crop", "full"], boxes: str
) -> Settings:
    """Settings by which evaluation and report read a validation's folder as a study's.

    Args:
        manifest: The bundle's manifest.
        cohort: How the cohort table was read.
        viewer: As `report.viewer` of a study.
        boxes: Table of the boxes that crops were cut at; empty where they lie by another rule.
    """
    stages, survival = manifest.stages, manifest.survival_members()
    # A bundle whose boxes were placed below the brain for all patients needs no table of them.
    position = "brain_anchored" if manifest.needs_box() and not boxes else stages.crop.position
    several = {} if manifest.model in survival else {manifest.model: tuple(survival)}
    values: dict[str, Any] = {
        "study": {
            "name": manifest.study.name,
            "title": f"{manifest.study.title[:170]}: external validation",
            "note": manifest.study.note,
        },
        "cohort": cohort.model_dump(),
        "index": stages.index.model_dump(),
        "convert": stages.convert.model_dump(),
        "suv": stages.suv.model_dump(),
        "contours": stages.contours.model_dump(),
        "registration": stages.registration.model_dump(),
        "crop": stages.crop.model_dump() | {"position": position, "boxes": boxes},
        "radiomics": stages.radiomics.model_dump(),
        "plan": {"folds": 1},
        "models": {name: _model_values(member) for name, member in survival.items()},
        "ensembles": several,
        "evaluation": {
            "horizons_days": manifest.horizons_days,
            "risk_groups": len(manifest.risk_cuts) + 1,
            "compare_with": manifest.model,
            "permutations": 0,
        },
        "report": {"viewer": viewer},
    }
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise BundleError(
            "the bundle's settings are not those of a study that can be judged",
            got=first_problem(error),
            action="make the bundle again with this software",
        ) from None


def _model_values(member: Member) -> dict[str, Any]:
    """Settings of a member as far as the page speaks of them: kind, features and clinical columns."""
    if isinstance(member, NetworkMember):
        # What it was trained with, and started from, has no part in its predictions.
        return member.folds[0].description.network | {"training": {}, "subset": ""}
    assert isinstance(member, LinearMember)
    fold = member.folds[0]
    values: dict[str, Any] = {"kind": member.kind, "clinical": fold.clinical.order}
    if member.kind == "feature":
        return values | {"feature": fold.features[0].name, "log": member.log}
    return values if member.kind == "clinical_cox" else values | ({} if fold.features else {"features": ()})
