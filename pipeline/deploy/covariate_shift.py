"""Covariates of a patient: numbers that say whether he is like those a study learned from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TITLES = {
    "suvmax": "SUVmax of the PET (g/mL)",
    "uptake_minutes": "time from injection to scan (min)",
    "pet_slice_mm": "distance of PET slices (mm)",
    "ct_slice_mm": "distance of CT slices (mm)",
    "similarity": "registration: correlation with the template",
    "overlap": "registration: Dice of the bodies",
    "rotation_deg": "registration: rotation (°)",
    "imaged_share": "share of the crop that was imaged",
    "lesion_ml": "volume of the contour (mL)",
}
"""Covariate → its title; beside them there are the mean and SD of each channel."""
STATISTICS = {"mean": "mean", "sd": "SD"}
REGISTRATION = {"similarity_after": "similarity", "overlap_after": "overlap", "rotation_deg": "rotation_deg"}
"""Entry of the registration's `quality.json` → covariate."""


@dataclass(frozen=True)
class StageFolders:
    """What the per-patient stages wrote.

    Attributes:
        convert: Folder with `ct.json` and `pet.json`.
        suv: Folder with `suv.json`.
        registration: Folder with `quality.json`.
        crop: The crop store.
        contours: Folder of the contour; None where there is none, or where it is not needed.
    """

    convert: Path
    suv: Path
    registration: Path
    crop: Path
    contours: Path | None = None


def patient_covariates(folders: StageFolders) -> dict[str, float]:
    """A patient's covariates by name (:data:`TITLES`, and mean and SD of each channel).

    What a patient does not have (no registration, no contour, no uptake time) is left out.
    """
    from pipeline.store.crops import read_crop

    suv = _read(folders.suv / "suv.json")
    values: dict[str, Any] = {"suvmax": suv.get("suvmax"), "uptake_minutes": suv.get("uptake_minutes")}
    for kind in ("pet", "ct"):
        geometry = _read(folders.convert / f"{kind}.json").get("geometry", {})
        values[f"{kind}_slice_mm"] = (geometry.get("spacing_mm") or [None])[0]
    quality = _read(folders.registration / "quality.json")
    values.update({name: quality.get(key) for key, name in REGISTRATION.items()})
    crop = read_crop(folders.crop)
    inside = crop.inside > 0
    values["imaged_share"] = float(inside.mean())
    values["lesion_ml"] = crop.attributes.lesion_ml
    for name, image in zip(crop.attributes.channels, crop.image, strict=True):
        values[f"{name}_mean"] = float(image[inside].mean(dtype=np.float64))
        values[f"{name}_sd"] = float(image[inside].std(dtype=np.float64))
    return {name: float(value) for name, value in values.items() if value is not None}


def suv_record(folders: StageFolders) -> dict[str, Any]:
    """What `suv.json` says of a patient; empty in a study of the CT alone."""
    return _read(folders.suv / "suv.json")


def scanner_of(folders: StageFolders) -> str:
    """Manufacturer and model of the PET scanner; empty where the files do not name it."""
    return str(_read(folders.suv / "suv.json").get("scanner", ""))


def covariate_title(name: str) -> str:
    """A covariate in words."""
    if name in TITLES:
        return TITLES[name]
    channel, _, statistic = name.rpartition("_")
    if statistic in STATISTICS:
        return f"{STATISTICS[statistic]} of the {channel.upper()} in the crop"
    return name


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content
