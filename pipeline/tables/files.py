"""Where one patient's images lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort import Cohort


@dataclass(frozen=True)
class PatientFiles:
    """A patient's images as the cohort table names them.

    Attributes:
        patient_id: Names outputs; never taken from image files.
        folder: Folder (or file) that holds the images.
        roi: Pattern of ROI names or path of a mask; empty: the study's patterns.
    """

    patient_id: str
    folder: Path
    roi: str = ""


def orphan_folders(settings: CohortSettings, cohort: Cohort) -> list[Path]:
    """Folders directly under the image root that no row of the cohort table leads into.

    Empty where the image root is the working directory itself or does not exist: then it
    is no folder of patients.
    """
    root = Path(settings.image_root)
    if not root.is_dir() or root.resolve() == Path.cwd().resolve():
        return []
    named = {Path(p.image_path).parts[0] for p in cohort.patients if p.image_path}
    named |= set(cohort.problems)
    return sorted(p for p in root.iterdir() if p.is_dir() and p.name not in named and p.name[0] != ".")
