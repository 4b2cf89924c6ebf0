"""The rule `register`: one patient is aligned rigidly to the template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, RegistrationError
from pipeline.provenance import file_sha256
from pipeline.registration.body_mask import BodyImage, BodyPair, Modality, coarse_volume, make_body
from pipeline.registration.multistart import Alignment, align, quality
from pipeline.registration.overlay import draw_overlay
from pipeline.registration.template import FACTS, IMAGE, image_path
from pipeline.settings.base import Policy
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.status import Warnings, patient_stage, propagate_exclusion, read_whole
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.transform import PET_MATRIX, inverse, must_register_pet, write_matrix
from pipeline.volumes.volume import FloatArray

MATRIX, QUALITY = "to_template.mat", "quality.json"
OVERLAY, PET_OVERLAY = "quality.png", "pet_to_ct.png"
WARN_BELOW = 0.4
"""Correlation below which a person should look: shapes that differ, or an error of some 10 mm."""


@dataclass(frozen=True)
class RegistrationSources:
    """What the registration of one patient reads.

    Attributes:
        patient_id: The patient.
        convert: Folder of `convert`.
        template: Folder of `template`; not read (and may be None) with `method: none`.
    """

    patient_id: str
    convert: Path
    template: Path | None = None


def register_patient(
    sources: RegistrationSources, out: Path, settings: RegistrationSettings, policy: Policy
) -> None:
    """Find the rigid transform between the template and a patient.

    Writes `to_template.mat` (ITK; maps template points to scanner points, LPS mm, as needed to
    resample a patient on a template grid), `quality.json` and, unless the method is `none` or
    the patient is the template, the overlay `quality.png`. The PET follows the CT through their
    shared frame of reference. Where `convert` says that the PET is to be registered,
    `pet_to_ct.mat` (maps CT points to PET points) and its overlay are written too, and scanner
    points are those of the CT.

    Args:
        sources: What is read.
        out: Folder of the patient's registration.
        settings: The study's section.
        policy: What happens to a patient that cannot be aligned.

    Raises:
        RegistrationError: No start ended within the limits (under policy `stop`).
    """
    if propagate_exclusion(sources.convert, out):
        return
    with patient_stage("register", sources.patient_id, out, policy) as work:
        facts: dict[str, Any] = {"method": settings.method}
        matrix: FloatArray = np.eye(4, dtype=np.float64)
        if settings.method == "template":
            template = _template_facts(sources, settings)
            facts["template"] = {key: template[key] for key in ("patient_id", "source", "native_sha256")}
            if template["native_sha256"] == file_sha256(image_path(sources.convert, settings.moving)):
                facts["note"] = "this patient is the template"
            else:
                alignment = _align_to_template(sources, settings, work.folder, work.warnings)
                matrix = alignment.best.fit.matrix
                facts |= quality(alignment, settings)
        if must_register_pet(sources.convert):
            pet = _align_pet_to_ct(sources, settings, work.folder)
            write_matrix(work.folder / PET_MATRIX, pet.best.fit.matrix)
            facts["pet_to_ct"] = quality(pet, settings)
            if settings.moving == "pet":
                # The alignment maps to PET points; the file maps to scanner points, those of the CT.
                matrix = inverse(pet.best.fit.matrix) @ matrix
        write_matrix(work.folder / MATRIX, matrix)
        (work.folder / QUALITY).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _template_facts(sources: RegistrationSources, settings: RegistrationSettings) -> dict[str, Any]:
    if sources.template is None:
        raise PipelineError("registration.method is template, but no template was given")
    read_whole(sources.template)
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


def _align_to_template(
    sources: RegistrationSources, settings: RegistrationSettings, out: Path, warnings: Warnings
) -> Alignment:
    assert sources.template is not None
    bodies = BodyPair(
        make_body(read_nifti(sources.template / IMAGE), settings.moving, "template"),
        _body(sources, settings.moving, settings),
    )
    try:
        alignment = align(bodies, settings)
    except RegistrationError as error:
        error.problem = error.problem.replace("alignment", "alignment to the template")
        error.action = (
            "look at the images; choose another registration.template, more registration.starts, "
            "wider limits, or registration.method: none"
        )
        raise
    best = alignment.best
    if alignment.failed and best.origin == "search":
        warnings.warn(f"{len(alignment.failed)} of {len(alignment.trials)} starts failed")
    if best.origin != "search":
        warnings.warn(f"no search was better than the start `{best.origin}`, which was chosen")
    if best.fit.similarity < WARN_BELOW:
        warnings.warn(
            f"similarity to the template is {best.fit.similarity:.2f}, below {WARN_BELOW:g}: see {OVERLAY}"
        )
    draw_overlay(bodies, alignment.scanned.matrix, best.fit.matrix, out / OVERLAY)
    return alignment


def _align_pet_to_ct(sources: RegistrationSources, settings: RegistrationSettings, out: Path) -> Alignment:
    """Align the PET to the CT of a patient whose frames of reference differ."""
    bodies = BodyPair(_body(sources, "ct", settings), _body(sources, "pet", settings))
    try:
        alignment = align(bodies, settings, modalities=2)
    except RegistrationError as error:
        error.problem = error.problem.replace("alignment", "alignment of PET and CT")
        error.action = "use series of one examination, or set wider limits in `registration`"
        raise
    titles = ("CT", "PET, aligned", "before", "after")
    matrices = (alignment.scanned.matrix, alignment.best.fit.matrix)
    draw_overlay(bodies, *matrices, out / PET_OVERLAY, titles)
    return alignment


def _body(sources: RegistrationSources, modality: Modality, settings: RegistrationSettings) -> BodyImage:
    path = image_path(sources.convert, modality)
    return make_body(coarse_volume(path, modality, settings.working_mm), modality, path.name)
