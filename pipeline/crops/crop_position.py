"""The one place that `crop.position: fixed` cuts at, for all patients of a study."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.crops.lesion import MaskFrom, apply, read_lesion
from pipeline.errors import CropError, PipelineError, SettingsError
from pipeline.settings.geometry import CropSettings
from pipeline.tables.frozen_selection import write_pin
from pipeline.tables.status import read_status
from pipeline.volumes.transform import inverse, read_matrix, registered_pet
from pipeline.volumes.volume import FloatArray

log = logging.getLogger(__name__)


def crop_position(
    candidates: Iterable[tuple[Path, Path]],
    out: Path,
    settings: CropSettings,
    *,
    pin: Path | None = None,
    mask_from: MaskFrom = "ct",
) -> None:
    """Decide where to cut: as the settings say, else the mean place of development lesions.

    The mean is taken in template space over the lesions' centroids, one per patient; outcomes
    are not read. The pin records who took part, so that the rule leaves out patients who
    join later; delete it, and the position, to average over all again.

    Args:
        candidates: Folders of `contours` and `registration` of the development patients;
            excluded ones and those without contour are skipped.
        out: JSON: `centre_mm` (z, y, x; LPS mm in template space), where it comes from, and
            how many lesions were averaged.
        settings: The study's section.
        pin: File outside the rule's outputs that gets the candidates' ids.
        mask_from: The contour that is preferred where a patient has two.

    Raises:
        SettingsError: No centre is set and no lesion can be read.
    """
    pairs = list(candidates)
    if pin is not None:
        write_pin(pin, [contours.name for contours, _ in pairs])
    if settings.centre_mm is not None:
        _write(out, {"centre_mm": list(settings.centre_mm), "from": "settings", "lesions": 0})
        return
    usable = [pair for pair in pairs if _usable(*pair)]
    _write(out, _mean(usable, mask_from) | {"template": _template(usable)})


def read_position(path: Path) -> FloatArray:
    """Crop centre as an LPS point (x, y, z; mm) in template space.

    Raises:
        CropError: The file cannot be read.
    """
    try:
        z, y, x = json.loads(path.read_text(encoding="utf-8"))["centre_mm"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CropError("the crop's position cannot be read", where=str(path), got=repr(error)) from None
    return np.array([x, y, z], dtype=np.float64)


def _usable(contours: Path, registration: Path) -> bool:
    return all(read_status(folder).state != "excluded" for folder in (contours, registration))


def _mean(usable: list[tuple[Path, Path]], mask_from: MaskFrom) -> dict[str, Any]:
    places: dict[str, FloatArray] = {}
    for contours, registration in usable:
        try:
            lesion = read_lesion(contours, mask_from, registered_pet(registration))
        except CropError as error:
            log.warning("%s: not used for the crop's position: %s", contours.name, error)
            continue
        if lesion is not None:
            matrix = read_matrix(registration / "to_template.mat")
            places[contours.name] = apply(inverse(matrix), lesion.centroid_mm()[None])[0]
    if not places:
        raise SettingsError(
            "there is no development lesion to place the crop by",
            where="crop.position: fixed",
            action="set crop.centre_mm, or crop.position: brain_anchored, which needs no contour",
        )
    stacked = np.stack(list(places.values()))
    x, y, z = (round(float(v), 3) for v in stacked.mean(axis=0))
    spread = stacked.std(axis=0)
    return {
        "centre_mm": [z, y, x],
        "from": "mean of development lesions",
        "lesions": len(places),
        "sd_mm": [round(float(v), 3) for v in spread[::-1]],
        "patients": sorted(places),
    }


def _template(usable: list[tuple[Path, Path]]) -> str:
    """What identifies the template the patients were registered to; empty for none."""
    found = set()
    for _, registration in usable:
        facts = json.loads((registration / "quality.json").read_text(encoding="utf-8"))
        found.add(facts.get("template", {}).get("native_sha256", ""))
    if len(found) > 1:
        raise PipelineError(
            "patients were registered to different templates", action="run the rule `register` again"
        )
    return hashlib.sha256("".join(found).encode()).hexdigest()[:16]


def _write(path: Path, facts: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
