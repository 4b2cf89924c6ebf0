"""The phantoms' boxes: the committed tables are those of the study, and the boxes are blind to the tumour."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.phantoms.box_table import box_table, main
from pipeline.phantoms.patient import SITE_SPREAD_MM, draw_patient, rigid_matrix
from pipeline.phantoms.phantom import cohort_table
from pipeline.settings.phantom import PhantomSettings
from pipeline.settings.root import load_settings

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "config/studies/papers/hecktor_small.yaml"


def test_committed_tables_are_in_step() -> None:
    settings = load_settings(yaml.safe_load(STUDY.read_text()))
    assert settings.phantom is not None
    assert (ROOT / settings.cohort.table).read_text() == cohort_table(settings.phantom)
    assert (ROOT / settings.crop.boxes).read_text() == box_table(settings.phantom)


def test_tumours_lie_as_far_from_the_middle_as_they_were_drawn() -> None:
    settings = PhantomSettings()
    rows = {row["patient_id"]: row for row in csv.DictReader(io.StringIO(box_table(settings)))}
    for number in range(1, 21):
        patient = draw_patient(number, settings)
        row = rows[patient.patient_id]
        low, high = (np.array([float(row[f"{axis}{end}"]) for axis in "xyz"]) for end in "12")
        assert high - low == pytest.approx([144.0] * 3)
        rigid = rigid_matrix(patient)
        tumour = rigid[:3, :3] @ np.asarray(patient.tumour.centre_mm) + rigid[:3, 3]
        away = np.linalg.norm(tumour - (low + high) / 2)
        assert 0 < away < np.linalg.norm(SITE_SPREAD_MM)


def test_a_study_without_boxes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({"cohort": {"table": str(tmp_path / "a.csv")}, "phantom": {}}))
    assert main([str(study)]) == 1 and "crop.boxes" in capsys.readouterr().err
    assert main([]) == 2 and not (tmp_path / "a.csv").exists()
