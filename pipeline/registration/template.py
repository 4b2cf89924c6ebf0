"""The rule `template`: a patient that is named, a file, or drawn by chance, blind to outcomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import RegistrationError, SettingsError
from pipeline.provenance import file_sha256
from pipeline.registration.body_mask import Modality, coarse_volume, make_body
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.frozen_selection import freeze_patients
from pipeline.tables.status import read_status, read_whole, stage_folder
from pipeline.volumes.nifti import write_nifti

IMAGE, FACTS = "template.nii.gz", "template.json"
FILES: dict[Modality, str] = {"ct": "ct_hu.nii.gz", "pet": "pet_stored.nii.gz"}


@dataclass(frozen=True)
class TemplateChoice:
    """The template that was chosen.

    Attributes:
        source: `auto`, `named` or `file`.
        patient_id: The patient; empty for a file.
        image: The native image.
    """

    source: Literal["auto", "named", "file"]
    patient_id: str
    image: Path


def image_path(convert: Path, modality: Modality) -> Path:
    """The image of a converted patient that is registered.

    Raises:
        RegistrationError: The patient has no image of this modality.
    """
    path = convert / FILES[modality]
    if not path.is_file():
        raise RegistrationError(
            f"the patient has no {modality.upper()}, which registration.moving asks for",
            where="stage convert",
            action="set index.modalities: [pet, ct], or set registration.moving to the modality that all patients have",
        )
    return path


def choose_template(
    candidates: Iterable[Path],
    out: Path,
    settings: RegistrationSettings,
    seed: int,
    frozen: Path | None = None,
) -> None:
    """Choose the template and write its image on the working grid.

    With `auto`, the patient whose hash of seed and patient_id is smallest is chosen: by chance,
    never by outcome. The frozen list records the candidates, so that the rule leaves out patients
    who join later; delete the list and the template to choose among all patients again.

    Args:
        candidates: Folders of `convert` of the development patients; excluded patients are skipped.
        out: Folder that gets `template.nii.gz` (HU or stored PET, cubic voxels) and
            `template.json` (patient_id, source, seed, hash of the native image, grid).
        settings: The study's section.
        seed: The study's seed.
        frozen: File outside the outputs of the rule that gets the candidates' ids.

    Raises:
        SettingsError: The named patient is not usable, or no patient is.
        RegistrationError: The template shows no body.
    """
    folders = list(candidates)
    included = [path for path in folders if read_status(path).state != "excluded"]
    usable = {path.name: path for path in included if (path / FILES[settings.moving]).is_file()}
    choice = _choose(usable, settings, seed)
    if choice.patient_id:
        read_whole(usable[choice.patient_id])
    volume = coarse_volume(choice.image, settings.moving, settings.working_mm)
    make_body(volume, settings.moving, str(choice.image))
    facts: dict[str, Any] = {
        "patient_id": choice.patient_id,
        "source": choice.source,
        "seed": seed,
        "modality": settings.moving,
        "working_mm": settings.working_mm,
        "candidates": len(usable),
        "native_sha256": file_sha256(choice.image),
        "shape": list(volume.grid.shape),
        "spacing_mm": list(volume.grid.spacing_mm),
        "origin_mm": list(volume.grid.origin_mm),
    }
    with stage_folder("template", out) as folder:
        write_nifti(folder / IMAGE, volume)
        (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if frozen is not None:
        freeze_patients(frozen, [path.name for path in folders])


def _choose(usable: dict[str, Path], settings: RegistrationSettings, seed: int) -> TemplateChoice:
    if settings.template in usable:
        image = image_path(usable[settings.template], settings.moving)
        return TemplateChoice("named", settings.template, image)
    if settings.template != "auto":
        file = Path(settings.template)
        if file.is_file():
            return TemplateChoice("file", "", file)
        raise SettingsError(
            "the template is neither a usable development patient nor a file",
            where="registration.template",
            expected=f"auto, a file, or one of {', '.join(sorted(usable)[:8])}"
            + (", …" if len(usable) > 8 else ""),
            got=settings.template,
            action="correct registration.template; problems.csv says who was excluded",
        )
    if not usable:
        raise SettingsError(
            "there is no usable development patient to take the template from",
            where="registration.template",
            action="see problems.csv for why each was excluded, or name a file",
        )
    patient = min(usable, key=lambda name: _seeded_hash(seed, name))
    return TemplateChoice("auto", patient, image_path(usable[patient], settings.moving))


def _seeded_hash(seed: int, patient_id: str) -> str:
    return hashlib.sha256(f"{seed}\0{patient_id}".encode()).hexdigest()
