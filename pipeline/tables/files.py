"""Where one patient's images lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
