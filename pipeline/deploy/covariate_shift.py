"""Numbers that say whether a patient is like those a study learned from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LABELS = {
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
STATISTICS = {"mean": "mean", "sd": "SD"}
REGISTRATION = {"similarity_after": "similarity", "overlap_after": "overlap", "rotation_deg": "rotation_deg"}


@dataclass(frozen=True)
class PatientStages:
    """Folders that the per-patient stages left.

    Attributes:
        convert: `ct.json`, `pet.json`.
        suv: `suv.json`.
        registration: `quality.json`.
        crop: The crop store.
    """

    convert: Path
    suv: Path
    registration: Path
    crop: Path


def measure(stages: PatientStages) -> dict[str, float]:
    """A patient's quantities by name (:data:`LABELS`, and mean and SD of each channel).

    What a patient does not have (no registration, no contour, no uptake time) is left out.
    """
    from pipeline.store.crops import read_crop

    suv = _read(stages.suv / "suv.json")
    found: dict[str, Any] = {"suvmax": suv.get("suvmax"), "uptake_minutes": suv.get("uptake_minutes")}
    for kind in ("pet", "ct"):
        geometry = _read(stages.convert / f"{kind}.json").get("geometry", {})
        found[f"{kind}_slice_mm"] = (geometry.get("spacing_mm") or [None])[0]
    quality = _read(stages.registration / "quality.json")
    found.update({name: quality.get(key) for key, name in REGISTRATION.items()})
    crop = read_crop(stages.crop)
    inside = crop.inside > 0
    found["imaged_share"] = float(inside.mean())
    found["lesion_ml"] = crop.attributes.lesion_ml
    for name, values in zip(crop.attributes.channels, crop.image, strict=True):
        found[f"{name}_mean"] = float(values[inside].mean(dtype=np.float64))
        found[f"{name}_sd"] = float(values[inside].std(dtype=np.float64))
    return {name: float(value) for name, value in found.items() if value is not None}


def scanner_of(stages: PatientStages) -> str:
    """Manufacturer and model of the PET; empty where the file names none."""
    return str(_read(stages.suv / "suv.json").get("scanner", ""))


def label(name: str) -> str:
    """A quantity in words."""
    if name in LABELS:
        return LABELS[name]
    channel, _, kind = name.rpartition("_")
    if kind in STATISTICS:
        return f"{STATISTICS[kind]} of the {channel.upper()} in the crop"
    return name


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
