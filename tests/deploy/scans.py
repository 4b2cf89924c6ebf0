"""A phantom patient's DICOM for the tests of this room."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.phantoms.phantom import write_patient
from pipeline.settings.phantom import PhantomSettings


def write_scan(folder: Path, patient_id: str = "P001") -> None:
    """DICOM of a phantom patient (CT, PET, RTSTRUCT) in a folder."""
    made = folder.parent / f"{folder.name}_made"
    write_patient(patient_id, PhantomSettings(), made)
    shutil.move(made / "dicom", folder)
