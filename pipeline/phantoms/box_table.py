"""The phantoms' table of boxes: `python -m pipeline.phantoms.box_table STUDY.yaml`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError, SettingsError
from pipeline.phantoms.patient import SITE_MM, rigid_matrix
from pipeline.phantoms.phantom import cohort, write_cohort_table
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.geometry import CropSettings
from pipeline.settings.phantom import PhantomSettings

SIDE_MM = 144.0
COLUMNS = ("patient_id", "x1", "x2", "y1", "y2", "z1", "z2")


def box_table(settings: PhantomSettings) -> str:
    """A box of 144 mm per patient (LPS mm) as CSV text.

    Its centre is the place where tumours lie on average, moved as the patient was: it is blind to the
    patient's own tumour, as a box below the brain would be.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for patient in cohort(settings):
        rigid = rigid_matrix(patient)
        centre = rigid[:3, :3] @ np.asarray(SITE_MM) + rigid[:3, 3]
        corners = [f"{c + half:.3f}" for c in centre for half in (-SIDE_MM / 2, SIDE_MM / 2)]
        writer.writerow([patient.patient_id, *corners])
    return text.getvalue()


def main(arguments: Sequence[str]) -> int:
    """Write the cohort table and the table of boxes that a study file names; returns the exit code."""
    import yaml

    if len(arguments) != 1:
        print("usage: python -m pipeline.phantoms.box_table STUDY.yaml", file=sys.stderr)
        return 2
    try:
        study = yaml.safe_load(Path(arguments[0]).read_text(encoding="utf-8")) or {}
        cohort_settings = CohortSettings.model_validate(study.get("cohort", {}))
        crop = CropSettings.model_validate(study.get("crop", {}))
        if "phantom" not in study or not crop.boxes:
            raise SettingsError(
                "the study has no phantoms whose crops lie in boxes",
                where=arguments[0],
                expected="a section phantom, and crop.boxes",
            )
        phantom = PhantomSettings.model_validate(study["phantom"])
        write_cohort_table(phantom, Path(cohort_settings.table))
        Path(crop.boxes).write_text(box_table(phantom), encoding="utf-8")
    # Invalid settings raise a ValueError.
    except (PipelineError, OSError, ValueError, yaml.YAMLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"tables written: {cohort_settings.table}, {crop.boxes}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
