"""Alignment of two bodies: from several starts where one is not enough; the best result is chosen."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import RegistrationError
from pipeline.registration.body_mask import BodyPair
from pipeline.registration.engine import rigid
from pipeline.registration.initialisation import (
    InitialTransform,
    Origin,
    differ,
    initial_transforms,
    outline,
)
from pipeline.registration.quality import Fit, SimilarityMeasure, measure, rotation_deg, shift_mm
from pipeline.registration.refine import refine
from pipeline.settings.geometry import RegistrationSettings
from pipeline.volumes.volume import FloatArray

FINE_BLURS_MM = (4.0, 2.0)
RIVAL_MARGIN = 0.05
"""A start that differs from the best and is less similar by no more than this is tried too."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """Where a start ended.

    Attributes:
        fit: The transform it ended at, and how well it fits.
        faults: The limits that it exceeds, as messages.
        origin: Where the start came from.
    """

    fit: Fit
    faults: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True)
class Alignment:
    """The result of :func:`align`.

    Attributes:
        best: The trial that was chosen.
        trials: All that were made, in order.
        scanned: How well the bodies are aligned as scanned.
    """

    best: Trial
    trials: tuple[Trial, ...]
    scanned: Fit

    @property
    def failed(self) -> list[tuple[str, ...]]:
        """The faults of the trials that ended beyond the limits."""
        return [trial.faults for trial in self.trials if trial.faults]


def align(bodies: BodyPair, settings: RegistrationSettings, *, modalities: int = 1) -> Alignment:
    """Align a body rigidly to another one.

    The best start is tried first. Others are tried where it failed, or where they differ from it
    and are about as similar before the search. The transform of highest similarity is chosen
    among the results, leaving the patient as scanned, and aligning the centres of the bodies;
    the result is therefore never less similar than these two.

    Args:
        bodies: Template and patient.
        settings: Number of starts, and limits.
        modalities: 2 where the images are of two modalities (CT and PET): the starts then come
            from the shapes of the bodies, and similarity is mutual information.

    Raises:
        RegistrationError: No start ended within the limits.
    """
    similarity: SimilarityMeasure = "information" if modalities == 2 else "correlation"
    shapes = BodyPair(outline(bodies.fixed), outline(bodies.moving)) if modalities == 2 else bodies
    starts = initial_transforms(shapes)
    pivot = bodies.fixed.centre_mm()
    plain = [
        _judge(measure(bodies, start.fit.matrix, similarity), settings, pivot, similarity, start.origin)
        for start in starts
        if start.origin != "search"
    ]
    trials = _try_starts(bodies, starts, settings, similarity)
    valid = [trial for trial in trials if not trial.faults]
    if not valid:
        nearest = max(trials, key=lambda trial: trial.fit.similarity)
        raise RegistrationError(
            f"no alignment within the limits from {len(trials)} starts", got="; ".join(nearest.faults)
        )
    valid += [trial for trial in plain if not trial.faults]
    scanned = next(trial.fit for trial in plain if trial.origin == "as scanned")
    return Alignment(max(valid, key=lambda trial: trial.fit.similarity), tuple(trials), scanned)


def _try_starts(
    bodies: BodyPair,
    starts: list[InitialTransform],
    settings: RegistrationSettings,
    similarity: SimilarityMeasure,
) -> list[Trial]:
    pivot = bodies.fixed.centre_mm()
    trials: list[Trial] = []
    tried: list[FloatArray] = []
    for start in starts:
        if len(tried) == settings.starts or not all(differ(start.fit.matrix, t, pivot) for t in tried):
            continue
        rival = start.fit.similarity > starts[0].fit.similarity - RIVAL_MARGIN
        if any(not trial.faults for trial in trials) and not rival:
            break
        tried.append(start.fit.matrix)
        trials.append(_try(bodies, start.fit, settings, similarity))
        for fault in trials[-1].faults:
            log.info("start %d failed: %s", len(trials), fault)
    return trials


def _try(
    bodies: BodyPair, start: Fit, settings: RegistrationSettings, similarity: SimilarityMeasure
) -> Trial:
    try:
        fit = measure(bodies, rigid(bodies, start.matrix), similarity)
    except RegistrationError as error:
        return Trial(measure(bodies, start.matrix, similarity), (str(error),), "search")
    if similarity == "correlation":
        refined = measure(bodies, refine(bodies, fit.matrix, FINE_BLURS_MM))
        fit = max(fit, refined, key=lambda candidate: candidate.similarity)
    return _judge(fit, settings, bodies.fixed.centre_mm(), similarity, start=start.matrix)


def _judge(
    fit: Fit,
    settings: RegistrationSettings,
    pivot: FloatArray,
    similarity: SimilarityMeasure,
    origin: Origin = "search",
    start: FloatArray | None = None,
) -> Trial:
    """Compare a fit with the limits; its shift is measured from its start (None: from itself)."""
    rotation = rotation_deg(fit.matrix)
    began = fit.matrix if start is None else start
    shift = float(np.linalg.norm(shift_mm(fit.matrix, pivot) - shift_mm(began, pivot)))
    faults = []
    if rotation > settings.max_rotation_deg:
        faults.append(f"rotated by {rotation:.1f}° (limit {settings.max_rotation_deg:g}°)")
    if shift > settings.max_translation_mm:
        faults.append(f"moved by {shift:.0f} mm from its start (limit {settings.max_translation_mm:g} mm)")
    if fit.overlap < settings.min_overlap:
        faults.append(f"bodies overlap by a Dice of {fit.overlap:.2f} (limit {settings.min_overlap:g})")
    least = settings.min_similarity if similarity == "correlation" else settings.min_information
    if fit.similarity < least:
        faults.append(f"similarity is {fit.similarity:.3f} (limit {least:g})")
    return Trial(fit, tuple(faults), origin)


def quality(alignment: Alignment, settings: RegistrationSettings) -> dict[str, Any]:
    """The content of `quality.json` about an alignment."""
    scanned, best = alignment.scanned, alignment.best.fit
    return {
        "similarity_before": round(scanned.similarity, 6),
        "similarity_after": round(best.similarity, 6),
        "overlap_before": round(scanned.overlap, 6),
        "overlap_after": round(best.overlap, 6),
        "rotation_deg": round(rotation_deg(best.matrix), 4),
        "translation_mm": [round(float(v), 3) for v in best.matrix[:3, 3]],
        "limits": {
            "max_rotation_deg": settings.max_rotation_deg,
            "max_translation_mm": settings.max_translation_mm,
            "min_overlap": settings.min_overlap,
            "min_similarity": settings.min_similarity,
            "min_information": settings.min_information,
        },
        "chosen": alignment.best.origin,
        "starts_tried": len(alignment.trials),
        "failed_starts": [list(faults) for faults in alignment.failed],
        "matrix": [[round(float(v), 9) for v in row] for row in best.matrix],
    }
