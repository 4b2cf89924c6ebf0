"""One patient, aligned rigidly to the template."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, RegistrationError
from pipeline.provenance import file_sha256
from pipeline.registration.bodies import Body, coarse_volume, make_body
from pipeline.registration.engine import rigid
from pipeline.registration.picture import draw
from pipeline.registration.quality import Fit, distinct, measure, rotation_deg, shift_mm, starts
from pipeline.registration.template import FACTS, IMAGE, image_path
from pipeline.settings.base import Policy
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.status import Warnings, pass_on, patient_stage
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.transform import write_matrix
from pipeline.volumes.volume import FloatArray

MATRIX, QUALITY, PICTURE = "to_template.mat", "quality.json", "quality.png"
# The images' correlation may fall this much below what a start had, by noise alone.
SLACK = 0.01
log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Trial:
    """One start and where it ended: fits before and after, and what speaks against it."""

    start: Fit
    end: Fit
    faults: tuple[str, ...]


def register_patient(
    sources: RegistrationSources, out: Path, settings: RegistrationSettings, policy: Policy
) -> None:
    """Find the rigid transform between the template and a patient.

    Writes `to_template.mat` (ITK; maps template points to patient points, LPS mm, which is
    what resampling a patient on a template grid needs), `quality.json` and, unless the
    method is `none` or the patient is the template, `quality.png`. PET follows CT through
    their shared frame of reference.

    Raises:
        RegistrationError: No start ended within the limits (under policy `stop`).
    """
    if pass_on(sources.convert, out):
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
                trials = _register(sources, settings, out, warnings)
                matrix = trials[-1].end.matrix
                facts |= _quality(trials, settings)
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


def _register(
    sources: RegistrationSources, settings: RegistrationSettings, out: Path, warnings: Warnings
) -> list[Trial]:
    """Trials in the order they were made; the last one is within the limits."""
    assert sources.template is not None
    fixed = make_body(read_nifti(sources.template / IMAGE), settings.moving, "template")
    path = image_path(sources.convert, settings.moving)
    moving = make_body(coarse_volume(path, settings.moving, settings.working_mm), settings.moving, path.name)
    found = starts(fixed, moving)
    best = measure(fixed, moving, found[0].matrix)
    trials: list[Trial] = []
    for start in distinct(found, fixed.centre_mm(), settings.starts):
        trials.append(_try((fixed, moving), start, best, settings))
        if not trials[-1].faults:
            break
        log.info("start %d failed: %s", len(trials), "; ".join(trials[-1].faults))
    if trials[-1].faults:
        nearest = max(trials, key=lambda t: t.end.similarity)
        raise RegistrationError(
            f"no alignment to the template within the limits from {len(trials)} starts",
            got="; ".join(nearest.faults),
            action="look at the images; another registration.template, more registration.starts, wider "
            "limits, or registration.method: none",
        )
    if len(trials) > 1:
        warnings.tell(f"aligned at start {len(trials)}, the earlier ones failed")
    draw(fixed, moving, (trials[-1].start.matrix, trials[-1].end.matrix), out / PICTURE)
    return trials


def _try(bodies: tuple[Body, Body], start: Fit, best: Fit, settings: RegistrationSettings) -> Trial:
    """Register from one start and hold the end against the limits and the best of all starts.

    The best start is at least as good as leaving the patient as scanned and as aligning the
    centres of the bodies, so an accepted end is no worse than either.
    """
    fixed, moving = bodies
    before = measure(fixed, moving, start.matrix)
    try:
        matrix = rigid(fixed, moving, start.matrix)
    except RegistrationError as error:
        return Trial(before, before, (str(error),))
    end = measure(fixed, moving, matrix)
    pivot = fixed.centre_mm()
    turn = rotation_deg(matrix)
    shift = float(np.linalg.norm(shift_mm(matrix, pivot) - shift_mm(start.matrix, pivot)))
    faults = []
    if turn > settings.max_rotation_deg:
        faults.append(f"turned by {turn:.1f}° (limit {settings.max_rotation_deg:g}°)")
    if shift > settings.max_translation_mm:
        faults.append(f"moved by {shift:.0f} mm from its start (limit {settings.max_translation_mm:g} mm)")
    if end.overlap < settings.min_overlap:
        faults.append(f"bodies overlap by a Dice of {end.overlap:.2f} (limit {settings.min_overlap:g})")
    if end.similarity < best.similarity - SLACK:
        faults.append(f"similarity {end.similarity:.3f} is below a start's {best.similarity:.3f}")
    return Trial(before, end, tuple(faults))


def _quality(trials: list[Trial], settings: RegistrationSettings) -> dict[str, Any]:
    last = trials[-1]
    angle = rotation_deg(last.end.matrix)
    return {
        "similarity_before": round(last.start.similarity, 6),
        "similarity_after": round(last.end.similarity, 6),
        "overlap_before": round(last.start.overlap, 6),
        "overlap_after": round(last.end.overlap, 6),
        "rotation_deg": round(angle, 4),
        "translation_mm": [round(float(v), 3) for v in last.end.matrix[:3, 3]],
        "limits": {
            "max_rotation_deg": settings.max_rotation_deg,
            "max_translation_mm": settings.max_translation_mm,
            "min_overlap": settings.min_overlap,
        },
        "starts_tried": len(trials),
        "failed_starts": [list(trial.faults) for trial in trials[:-1]],
        "matrix": [[round(float(v), 9) for v in row] for row in last.end.matrix],
    }
