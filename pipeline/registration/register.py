"""The rule `register`: one patient is aligned rigidly to the template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, RegistrationError
from pipeline.provenance import file_sha256
from pipeline.registration.body_mask import BodyImage, BodyPair, Modality, coarse_volume, make_body
from pipeline.registration.multistart import Alignment, align, quality
from pipeline.registration.overlay import draw_overlay
from pipeline.registration.pet_on_ct import pet_on_ct
from pipeline.registration.template import FACTS, FILES, IMAGE, image_path
from pipeline.settings.base import Policy
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.status import StageWork, Warnings, patient_stage, propagate_exclusion, read_whole
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.transform import PET_MATRIX, inverse, must_register_pet, write_matrix
from pipeline.volumes.volume import FloatArray, Volume

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


@dataclass(frozen=True)
class _PatientImages:
    """A patient's images on the working grid, each read once."""

    convert: Path
    working_mm: float

    @cached_property
    def ct(self) -> BodyImage:
        """The body on the CT."""
        return self._body("ct", coarse_volume(image_path(self.convert, "ct"), "ct", self.working_mm))

    @cached_property
    def pet(self) -> BodyImage:
        """The body on the PET."""
        return self._body("pet", self.uptake)

    @cached_property
    def uptake(self) -> Volume:
        """The PET, in stored values."""
        return coarse_volume(image_path(self.convert, "pet"), "pet", self.working_mm)

    def body(self, modality: Modality) -> BodyImage:
        """The body on one of the images."""
        return self.ct if modality == "ct" else self.pet

    def both(self) -> bool:
        """Whether the patient has a CT and a PET."""
        return all((self.convert / name).is_file() for name in FILES.values())

    def _body(self, modality: Modality, volume: Volume) -> BodyImage:
        return make_body(volume, modality, FILES[modality])


def register_patient(
    sources: RegistrationSources, out: Path, settings: RegistrationSettings, policy: Policy
) -> None:
    """Find the rigid transform between the template and a patient.

    Writes `to_template.mat` (ITK; maps template points to scanner points, LPS mm, as needed to
    resample a patient on a template grid), `quality.json` and, unless the method is `none` or
    the patient is the template, the overlay `quality.png`. Where there are PET and CT, `quality.json` says
    how well they fit (:mod:`pipeline.registration.pet_on_ct`), and a PET that fits better elsewhere or
    mirrored is a warning. The PET follows the CT through their
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
        to_pet = matrix
        images = _PatientImages(sources.convert, settings.working_mm)
        if settings.method == "template":
            template = _template_facts(sources, settings)
            facts["template"] = {key: template[key] for key in ("patient_id", "source", "native_sha256")}
            if template["native_sha256"] == file_sha256(image_path(sources.convert, settings.moving)):
                facts["note"] = "this patient is the template"
            else:
                body = images.body(settings.moving)
                alignment = _align_to_template(sources, body, settings, work)
                matrix = alignment.best.fit.matrix
                facts |= quality(alignment, settings)
        if must_register_pet(sources.convert):
            pet = _align_pet_to_ct(images, settings, work.folder)
            to_pet = pet.best.fit.matrix
            write_matrix(work.folder / PET_MATRIX, to_pet)
            facts["pet_to_ct"] = quality(pet, settings)
            if settings.moving == "pet":
                # The alignment maps to PET points; the file maps to scanner points, those of the CT.
                matrix = inverse(to_pet) @ matrix
        if images.both():
            facts["pet_on_ct"] = _pet_on_ct(images, to_pet, settings, work.warnings)
        write_matrix(work.folder / MATRIX, matrix)
        (work.folder / QUALITY).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _pet_on_ct(
    images: _PatientImages, to_pet: FloatArray, settings: RegistrationSettings, warnings: Warnings
) -> dict[str, Any]:
    """How well PET and CT fit, with warnings; the reason where the CT shows no body to compare."""
    try:
        ct = images.ct
    except RegistrationError as error:
        # Nothing is registered here: an image of less than a body is none that must be refused.
        return {"not_compared": error.problem}
    compared = pet_on_ct(ct, images.uptake, to_pet)
    for text in compared.warnings(settings):
        warnings.warn(text)
    return compared.facts()


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
    sources: RegistrationSources, body: BodyImage, settings: RegistrationSettings, work: StageWork
) -> Alignment:
    assert sources.template is not None
    warnings = work.warnings
    template = make_body(read_nifti(sources.template / IMAGE), settings.moving, "template")
    bodies = BodyPair(template, body)
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
    draw_overlay(bodies, alignment.scanned.matrix, best.fit.matrix, work.folder / OVERLAY)
    return alignment


def _align_pet_to_ct(images: _PatientImages, settings: RegistrationSettings, out: Path) -> Alignment:
    """Align the PET to the CT of a patient whose frames of reference differ."""
    bodies = BodyPair(images.ct, images.pet)
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
