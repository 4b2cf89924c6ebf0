"""The template patient: named, a file, or drawn by seed, blind to outcome."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import RegistrationError, SettingsError
from pipeline.provenance import file_sha256
from pipeline.registration.body_mask import Modality, coarse_volume, make_body
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.frozen_selection import write_pin
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import write_nifti

IMAGE, FACTS = "template.nii.gz", "template.json"
log = logging.getLogger(__name__)


FILES: dict[Modality, str] = {"ct": "ct_hu.nii.gz", "pet": "pet_stored.nii.gz"}


def image_path(convert: Path, modality: Modality) -> Path:
    """The image of a converted patient that is registered.

    Raises:
        RegistrationError: The patient was converted without it.
    """
    path = convert / FILES[modality]
    if not path.is_file():
        raise RegistrationError(
            f"the patient has no {modality.upper()}, which registration.moving asks for",
            where="stage convert",
            action="set index.modalities: [pet, ct], or registration.moving to the image that all have",
        )
    return path


def choose_template(
    candidates: Iterable[Path], out: Path, settings: RegistrationSettings, seed: int, pin: Path | None = None
) -> None:
    """Choose the template and write its image on the working grid.

    With `auto` the patient is taken whose hash of seed and patient_id is smallest: chance
    decides, never an outcome. The pin records who took part, so that the rule leaves out
    patients who join later; delete it, and the template, to choose among all again.

    Args:
        candidates: Folders of `convert` of the development patients; excluded ones are skipped.
        out: Folder that gets `template.nii.gz` (HU or stored PET, cubic voxels) and
            `template.json` (patient_id, source, seed, hash of the native image, grid).
        settings: The study's section.
        seed: The study's seed.
        pin: File outside the rule's outputs that gets the candidates' ids.

    Raises:
        SettingsError: The named patient is not usable, or there is none at all.
        RegistrationError: The template shows no body.
    """
    folders = list(candidates)
    kept = [path for path in folders if read_status(path).state != "excluded"]
    usable = {path.name: path for path in kept if (path / FILES[settings.moving]).is_file()}
    source, patient, image = _choice(usable, settings, seed)
    volume = coarse_volume(image, settings.moving, settings.working_mm)
    make_body(volume, settings.moving, str(image))
    facts: dict[str, Any] = {
        "patient_id": patient,
        "source": source,
        "seed": seed,
        "modality": settings.moving,
        "working_mm": settings.working_mm,
        "candidates": len(usable),
        "native_sha256": file_sha256(image),
        "shape": list(volume.grid.shape),
        "spacing_mm": list(volume.grid.spacing_mm),
        "origin_mm": list(volume.grid.origin_mm),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_nifti(out / IMAGE, volume)
    (out / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if pin is not None:
        write_pin(pin, [path.name for path in folders])


def _choice(usable: dict[str, Path], settings: RegistrationSettings, seed: int) -> tuple[str, str, Path]:
    """Source (`auto`, `named`, `file`), patient_id (empty for a file) and image."""
    if settings.template in usable:
        return "named", settings.template, image_path(usable[settings.template], settings.moving)
    if settings.template != "auto":
        file = Path(settings.template)
        if file.is_file():
            return "file", "", file
        raise SettingsError(
            "the template is neither a usable development patient nor a file",
            where="registration.template",
            expected=f"auto, a file, or one of {', '.join(sorted(usable)[:8])}"
            + (", …" if len(usable) > 8 else ""),
            got=settings.template,
        )
    if not usable:
        raise SettingsError(
            "there is no usable development patient to take the template from",
            where="registration.template",
            action="see problems.csv for why each was excluded, or name a file",
        )
    patient = min(usable, key=lambda name: _draw(seed, name))
    return "auto", patient, image_path(usable[patient], settings.moving)


def _draw(seed: int, patient_id: str) -> str:
    return hashlib.sha256(f"{seed}\0{patient_id}".encode()).hexdigest()
