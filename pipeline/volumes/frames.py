"""How a patient's PET lies on the CT: by their shared frame of reference, or registered.

"Scanner coordinates" are the CT's. They are the PET's too, unless `convert` recorded that the
frames of reference differ and that the PET is to be registered (`pet_to_ct` in `pet.json`).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.volumes.transform import read_matrix
from pipeline.volumes.volume import FloatArray

PET_MATRIX = "pet_to_ct.mat"


def must_register_pet(convert: Path) -> bool:
    """Whether `convert` says that the PET is to be registered to the CT.

    Args:
        convert: The patient's folder; without `pet.json` PET and CT share a frame.
    """
    header = convert / "pet.json"
    if not header.is_file():
        return False
    return bool(json.loads(header.read_text(encoding="utf-8")).get("pet_to_ct") == "register")


def pet_matrix(convert: Path, registration: Path | None) -> FloatArray:
    """4×4 from scanner (CT) points to PET points (LPS mm); the identity where they share a frame.

    Args:
        convert: Folder of `convert`.
        registration: Folder of `registration`.

    Raises:
        PipelineError: The PET is to be registered, but there is no result.
    """
    if not must_register_pet(convert):
        return np.eye(4, dtype=np.float64)
    if registration is None or not (registration / PET_MATRIX).is_file():
        raise PipelineError(
            "the PET does not share the CT's frame of reference and was not registered",
            where=str(convert / "pet.json"),
            expected=f"registration/{convert.name}/{PET_MATRIX}",
            got="none",
            action="run the rule `register` again",
        )
    return registered_pet(registration)


def registered_pet(registration: Path) -> FloatArray:
    """4×4 from scanner points to PET points of a registered patient; else the identity."""
    path = registration / PET_MATRIX
    return read_matrix(path) if path.is_file() else np.eye(4, dtype=np.float64)
