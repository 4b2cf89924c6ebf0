"""Two bodies aligned: from several starts where one is not enough, the best end kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import RegistrationError
from pipeline.registration.body_mask import BodyImage
from pipeline.registration.engine import rigid
from pipeline.registration.initialisation import Origin, apart, outline, starts
from pipeline.registration.quality import Fit, SimilarityMeasure, measure, rotation_deg, shift_mm
from pipeline.registration.refine import refine
from pipeline.settings.geometry import RegistrationSettings
from pipeline.volumes.volume import FloatArray

FINE_BLURS_MM = (4.0, 2.0)
RIVAL = 0.05
"""A start that lies apart from the best and is no less similar than by this much is tried too."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """Where a start ended, what speaks against it, and where it comes from."""

    end: Fit
    faults: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True)
class Alignment:
    """What was found.

    Attributes:
        best: The trial that is kept.
        trials: All that were made, in order.
        scanned: How well the bodies lie on each other as scanned.
    """

    best: Trial
    trials: tuple[Trial, ...]
    scanned: Fit

    @property
    def failed(self) -> list[tuple[str, ...]]:
        """What spoke against those that ended beyond the limits."""
        return [trial.faults for trial in self.trials if trial.faults]


def align(
    fixed: BodyImage, moving: BodyImage, settings: RegistrationSettings, *, modalities: int = 1
) -> Alignment:
    """Align a body rigidly to another one.

    The best start is tried first; the next ones where it failed, or where they lie apart and
    look about as good before the search. Of the ends, and of leaving the patient as scanned
    and of laying the bodies' centres on each other, the one with the highest similarity is
    kept; so none is worse by it than these.

    Args:
        fixed: The template.
        moving: The patient.
        settings: Number of starts, and limits.
        modalities: 2 where the images show different things (CT and PET): the starts then
            come from the bodies' shapes, and similarity is mutual information.

    Raises:
        RegistrationError: No start ended within the limits.
    """
    likeness: SimilarityMeasure = "information" if modalities == 2 else "correlation"
    shapes = (outline(fixed), outline(moving)) if modalities == 2 else (fixed, moving)
    found = starts(*shapes)
    pivot = fixed.centre_mm()
    plain = [
        _judged(measure(fixed, moving, s.fit.matrix, likeness), settings, pivot, likeness, s.origin)
        for s in found
        if s.origin != "search"
    ]
    trials: list[Trial] = []
    tried: list[FloatArray] = []
    for start in found:
        if len(tried) == settings.starts or not all(apart(start.fit.matrix, t, pivot) for t in tried):
            continue
        rival = start.fit.similarity > found[0].fit.similarity - RIVAL
        if any(not trial.faults for trial in trials) and not rival:
            break
        tried.append(start.fit.matrix)
        trials.append(_try((fixed, moving), start.fit, settings, likeness))
        for fault in trials[-1].faults:
            log.info("start %d failed: %s", len(trials), fault)
    good = [trial for trial in trials if not trial.faults]
    if not good:
        nearest = max(trials, key=lambda t: t.end.similarity)
        raise RegistrationError(
            f"no alignment within the limits from {len(trials)} starts", got="; ".join(nearest.faults)
        )
    good += [trial for trial in plain if not trial.faults]
    scanned = next(trial.end for trial in plain if trial.origin == "as scanned")
    return Alignment(max(good, key=lambda t: t.end.similarity), tuple(trials), scanned)


def _try(
    bodies: tuple[BodyImage, BodyImage],
    start: Fit,
    settings: RegistrationSettings,
    likeness: SimilarityMeasure,
) -> Trial:
    fixed, moving = bodies
    try:
        end = measure(fixed, moving, rigid(fixed, moving, start.matrix), likeness)
    except RegistrationError as error:
        return Trial(measure(fixed, moving, start.matrix, likeness), (str(error),), "search")
    if likeness == "correlation":
        sharper = measure(fixed, moving, refine(fixed, moving, end.matrix, FINE_BLURS_MM))
        end = max(end, sharper, key=lambda fit: fit.similarity)
    return _judged(end, settings, fixed.centre_mm(), likeness, start=start.matrix)


def _judged(
    end: Fit,
    settings: RegistrationSettings,
    pivot: FloatArray,
    likeness: SimilarityMeasure,
    origin: Origin = "search",
    start: FloatArray | None = None,
) -> Trial:
    """Hold an end against the limits; its shift counts from its start (none: from itself)."""
    turn = rotation_deg(end.matrix)
    began = end.matrix if start is None else start
    shift = float(np.linalg.norm(shift_mm(end.matrix, pivot) - shift_mm(began, pivot)))
    faults = []
    if turn > settings.max_rotation_deg:
        faults.append(f"turned by {turn:.1f}° (limit {settings.max_rotation_deg:g}°)")
    if shift > settings.max_translation_mm:
        faults.append(f"moved by {shift:.0f} mm from its start (limit {settings.max_translation_mm:g} mm)")
    if end.overlap < settings.min_overlap:
        faults.append(f"bodies overlap by a Dice of {end.overlap:.2f} (limit {settings.min_overlap:g})")
    least = settings.min_similarity if likeness == "correlation" else settings.min_information
    if end.similarity < least:
        faults.append(f"similarity is {end.similarity:.3f} (limit {least:g})")
    return Trial(end, tuple(faults), origin)


def quality(found: Alignment, settings: RegistrationSettings) -> dict[str, Any]:
    """What `quality.json` says of an alignment."""
    kept = found.best
    return {
        "similarity_before": round(found.scanned.similarity, 6),
        "similarity_after": round(kept.end.similarity, 6),
        "overlap_before": round(found.scanned.overlap, 6),
        "overlap_after": round(kept.end.overlap, 6),
        "rotation_deg": round(rotation_deg(kept.end.matrix), 4),
        "translation_mm": [round(float(v), 3) for v in kept.end.matrix[:3, 3]],
        "limits": {
            "max_rotation_deg": settings.max_rotation_deg,
            "max_translation_mm": settings.max_translation_mm,
            "min_overlap": settings.min_overlap,
            "min_similarity": settings.min_similarity,
            "min_information": settings.min_information,
        },
        "kept": kept.origin,
        "starts_tried": len(found.trials),
        "failed_starts": [list(faults) for faults in found.failed],
        "matrix": [[round(float(v), 9) for v in row] for row in kept.end.matrix],
    }
