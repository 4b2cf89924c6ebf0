"""The rule `crop_position`: the position of all crops of a study with `crop.position: fixed`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.crops.lesion import MaskFrom, read_lesion
from pipeline.errors import CropError, PipelineError, SettingsError
from pipeline.settings.geometry import CropSettings
from pipeline.tables.failures import own_result
from pipeline.tables.frozen_selection import freeze_patients
from pipeline.tables.status import read_status, read_whole
from pipeline.tables.whole import write_text
from pipeline.volumes.transform import inverse, read_matrix, registered_pet, transform_points
from pipeline.volumes.volume import FloatArray

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlignedContours:
    """A patient whose lesion may take part.

    Attributes:
        contours: The patient's folder of `contours`.
        registration: The patient's folder of `registration`.
    """

    contours: Path
    registration: Path

    def excluded(self) -> bool:
        """Whether one of the stages excluded the patient."""
        return any(read_status(folder).state == "excluded" for folder in (self.contours, self.registration))


def crop_position(
    candidates: Iterable[AlignedContours],
    out: Path,
    settings: CropSettings,
    *,
    frozen: Path | None = None,
    mask_from: MaskFrom = "ct",
) -> None:
    """Decide where all crops lie: as the settings say, else at the mean of development lesions.

    The mean is taken in template space over the centroids of the lesions, one per patient;
    outcomes are not read. The frozen list records the candidates, so that the rule leaves out
    patients who join later; delete the list and the position to average over all patients again.

    Args:
        candidates: The development patients; excluded patients and those without a contour are
            skipped.
        out: JSON: `centre_mm` (z, y, x; LPS mm in template space), where it comes from, and
            how many lesions were averaged.
        settings: The study's section.
        frozen: File outside the outputs of the rule that gets the candidates' ids.
        mask_from: The contour that is preferred where a patient has two.

    Raises:
        SettingsError: No centre is set and no lesion can be read.
    """
    patients = list(candidates)
    if frozen is not None:
        freeze_patients(frozen, [patient.contours.name for patient in patients])
    if settings.centre_mm is not None:
        _write(out, {"centre_mm": list(settings.centre_mm), "from": "settings", "lesions": 0})
        return
    usable = [patient for patient in patients if not patient.excluded()]
    for patient in usable:
        read_whole(patient.contours)
        read_whole(patient.registration)
    _write(out, _mean_position(usable, mask_from) | {"template": _template(usable)})


def read_position(path: Path) -> FloatArray:
    """Crop centre as an LPS point (x, y, z; mm) in template space.

    Raises:
        DamageError: The file is missing or damaged.
    """
    with own_result(path, "JSON with centre_mm (z, y, x)"):
        z, y, x = map(float, json.loads(path.read_text(encoding="utf-8"))["centre_mm"])
    return np.array([x, y, z], dtype=np.float64)


def _mean_position(usable: list[AlignedContours], mask_from: MaskFrom) -> dict[str, Any]:
    centroids: dict[str, FloatArray] = {}
    for patient in usable:
        name, registration = patient.contours.name, patient.registration
        try:
            lesion = read_lesion(patient.contours, mask_from, registered_pet(registration))
        except CropError as error:
            log.warning("%s: not used for the crop's position: %s", name, error)
            continue
        if lesion is not None:
            matrix = read_matrix(registration / "to_template.mat")
            centroids[name] = transform_points(inverse(matrix), lesion.centroid_mm()[None])[0]
    if not centroids:
        raise SettingsError(
            "there is no development lesion that the crop could be placed at",
            where="crop.position: fixed",
            action="set crop.centre_mm, or crop.position: brain_anchored, which needs no contour",
        )
    stacked = np.stack(list(centroids.values()))
    x, y, z = (round(float(v), 3) for v in stacked.mean(axis=0))
    spread = stacked.std(axis=0)
    return {
        "centre_mm": [z, y, x],
        "from": "mean of development lesions",
        "lesions": len(centroids),
        "sd_mm": [round(float(v), 3) for v in spread[::-1]],
        "patients": sorted(centroids),
    }


def _template(usable: list[AlignedContours]) -> str:
    """Hash that identifies the template the patients were registered to."""
    hashes = set()
    for patient in usable:
        facts = json.loads((patient.registration / "quality.json").read_text(encoding="utf-8"))
        hashes.add(facts.get("template", {}).get("native_sha256", ""))
    if len(hashes) > 1:
        raise PipelineError(
            "patients were registered to different templates", action="run the rule `register` again"
        )
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]


def _write(path: Path, facts: dict[str, Any]) -> None:
    write_text(path, json.dumps(facts, indent=2) + "\n")
