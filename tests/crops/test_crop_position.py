"""The study's crop position: from development lesions, once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.crops.crop_position import AlignedContours, crop_position, read_position
from pipeline.errors import PipelineError, SettingsError
from pipeline.settings.geometry import CropSettings
from pipeline.tables.frozen_selection import frozen_patients
from pipeline.tables.status import Status, write_status


def candidates(*sources):
    return [AlignedContours(s.contours, s.registration) for s in sources]


def test_the_mean_of_lesions_in_template_space(write_patient, turned, tmp_path):
    # P lies in template space; Q's lesion at R p + t lies at p in template space.
    at = turned[:3, :3] @ (10.0, 2.0, -4.0) + turned[:3, 3]
    first = write_patient("P", lesion=(0.0, 0.0, 0.0))
    second = write_patient("Q", lesion=tuple(at), matrix=turned)
    crop_position(candidates(first, second), tmp_path / "position.json", CropSettings())
    assert read_position(tmp_path / "position.json") == pytest.approx((5.0, 1.0, -2.0), abs=0.3)
    facts = json.loads((tmp_path / "position.json").read_text())
    assert facts["centre_mm"] == pytest.approx((-2.0, 1.0, 5.0), abs=0.3)
    assert facts["lesions"] == 2


def test_excluded_and_undrawn_patients_are_skipped(write_patient, tmp_path):
    used, gone, undrawn = (
        write_patient("P", lesion=(0.0, 0.0, 0.0)),
        write_patient("Q", lesion=(20.0, 0.0, 0.0)),
        write_patient("R", drawn_on=()),
    )
    write_status(gone.registration, Status("excluded", "register", "failed"))
    crop_position(candidates(used, gone, undrawn), tmp_path / "position.json", CropSettings())
    assert read_position(tmp_path / "position.json") == pytest.approx(np.zeros(3), abs=0.3)


def test_the_frozen_list_keeps_who_took_part(write_patient, tmp_path):
    frozen = tmp_path / "frozen/position.json"
    first, undrawn = write_patient("P", lesion=(0.0, 0.0, 0.0)), write_patient("R", drawn_on=())
    crop_position(candidates(first, undrawn), tmp_path / "position.json", CropSettings(), frozen=frozen)
    assert frozen_patients(frozen, ["P", "Q", "R"]) == ["P", "R"]


def test_patients_of_two_templates_are_not_averaged(write_patient, tmp_path):
    first, second = write_patient("P"), write_patient("Q")
    (second.registration / "quality.json").write_text('{"template": {"native_sha256": "other"}}')
    write_status(second.registration, Status("ok", "register"))
    with pytest.raises(PipelineError, match="different templates"):
        crop_position(candidates(first, second), tmp_path / "position.json", CropSettings())


def test_a_centre_of_the_settings_is_taken(tmp_path):
    crop_position([], tmp_path / "position.json", CropSettings(centre_mm=(1.0, 2.0, 3.0)))
    assert read_position(tmp_path / "position.json").tolist() == [3.0, 2.0, 1.0]


def test_no_lesion_at_all(write_patient, tmp_path):
    with pytest.raises(SettingsError, match="no development lesion"):
        crop_position(candidates(write_patient("P", drawn_on=())), tmp_path / "position.json", CropSettings())
