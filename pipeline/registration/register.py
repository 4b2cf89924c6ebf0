"""One patient, aligned rigidly to the template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, RegistrationError
from pipeline.provenance import file_sha256
from pipeline.registration.body_mask import BodyImage, Modality, coarse_volume, make_body
from pipeline.registration.multistart import Alignment, align, quality
from pipeline.registration.overlay import draw
from pipeline.registration.template import FACTS, IMAGE, image_path
from pipeline.settings.base import Policy
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.status import Warnings, patient_stage, propagate_exclusion
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.transform import PET_MATRIX, inverse, must_register_pet, write_matrix
from pipeline.volumes.volume import FloatArray

MATRIX, QUALITY = "to_template.mat", "quality.json"
PICTURE, PET_PICTURE = "quality.png", "pet_to_ct.png"
LOOK_BELOW = 0.4
"""Correlation below which a person should look: shapes that differ, or an error of some 10 mm."""


@dataclass(frozen=True)
class RegistrationSources:
    """What one patient's registration reads.

    Attributes:
        patient_id: Names the patient.
        convert: Folder of `convert`.
        template: Folder of `template`; not read (and may be None) for `method: none`.
    """

    patient_id: str
    convert: Path
    template: Path | None = None


def register_patient(
    sources: RegistrationSources, out: Path, settings: RegistrationSettings, policy: Policy
) -> None:
    """Find the rigid transform between the template and a patient.

    Writes `to_template.mat` (ITK; maps template points to scanner points, LPS mm, which is
    what resampling a patient on a template grid needs), `quality.json` and, unless the
    method is `none` or the patient is the template, `quality.png`. PET follows CT through
    their shared frame of reference; where `convert` says that the PET is to be registered,
    `pet_to_ct.mat` (maps CT points to PET points) and its picture are written too, and
    scanner points are the CT's.

    Raises:
        RegistrationError: No start ended within the limits (under policy `stop`).
    """
    if propagate_exclusion(sources.convert, out):
        return
    with patient_stage("register", sources.patient_id, out, policy) as warnings:
        facts: dict[str, Any] = {"method": settings.method}
        matrix: FloatArray = np.eye(4, dtype=np.float64)
        if settings.method == "template":
            template = _template_facts(sources, settings)
            facts["template"] = {key: template[key] for key in ("patient_id", "source", "native_sha256")}
            if template["native_sha256"] == file_sha256(image_path(sources.convert, settings.moving)):
                facts["note"] = "this patient is the template"
            else:
                found = _to_template(sources, settings, out, warnings)
                matrix = found.best.end.matrix
                facts |= quality(found, settings)
        if must_register_pet(sources.convert):
            pet = _pet_to_ct(sources, settings, out)
            write_matrix(out / PET_MATRIX, pet.best.end.matrix)
            facts["pet_to_ct"] = quality(pet, settings)
            if settings.moving == "pet":
                # the search ended at PET points; the file maps to scanner points, the CT's
                matrix = inverse(pet.best.end.matrix) @ matrix
        write_matrix(out / MATRIX, matrix)
        (out / QUALITY).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _template_facts(sources: RegistrationSources, settings: RegistrationSettings) -> dict[str, Any]:
    if sources.template is None:
        raise PipelineError("registration.method is template, but no template was handed over")
    facts: dict[str, Any] = json.loads((sources.template / FACTS).read_text(encoding="utf-8"))
    expected = (settings.moving, settings.working_mm)
    if (facts["modality"], facts["working_mm"]) != expected:
        raise PipelineError(
            "the template was made with other settings",
            where=str(sources.template / FACTS),
            expected=str(expected),
            got=str((facts["modality"], facts["working_mm"])),
            action="run the rule `template` again",
        )
    return facts


def _to_template(
    sources: RegistrationSources, settings: RegistrationSettings, out: Path, warnings: Warnings
) -> Alignment:
    assert sources.template is not None
    fixed = make_body(read_nifti(sources.template / IMAGE), settings.moving, "template")
    moving = _body(sources, settings.moving, settings)
    try:
        found = align(fixed, moving, settings)
    except RegistrationError as error:
        error.problem = error.problem.replace("alignment", "alignment to the template")
        error.action = (
            "look at the images; another registration.template, more registration.starts, wider "
            "limits, or registration.method: none"
        )
        raise
    if found.failed and found.best.origin == "search":
        warnings.warn(f"{len(found.failed)} of {len(found.trials)} starts failed")
    if found.best.origin != "search":
        warnings.warn(f"no search was better than the start `{found.best.origin}`, which is kept")
    similarity = found.best.end.similarity
    if similarity < LOOK_BELOW:
        warnings.warn(f"similarity to the template is {similarity:.2f}, below {LOOK_BELOW:g}: see {PICTURE}")
    draw((fixed, moving), (found.scanned.matrix, found.best.end.matrix), out / PICTURE)
    return found


def _pet_to_ct(sources: RegistrationSources, settings: RegistrationSettings, out: Path) -> Alignment:
    """PET to CT of one patient whose frames of reference differ."""
    fixed, moving = (_body(sources, modality, settings) for modality in ("ct", "pet"))
    try:
        found = align(fixed, moving, settings, modalities=2)
    except RegistrationError as error:
        error.problem = error.problem.replace("alignment", "alignment of PET and CT")
        error.action = "send series of one examination, or wider limits in `registration`"
        raise
    titles = ("CT", "PET, aligned", "before", "after")
    draw((fixed, moving), (found.scanned.matrix, found.best.end.matrix), out / PET_PICTURE, titles)
    return found


def _body(sources: RegistrationSources, modality: Modality, settings: RegistrationSettings) -> BodyImage:
    path = image_path(sources.convert, modality)
    return make_body(coarse_volume(path, modality, settings.working_mm), modality, path.name)
