"""A patient's status after a stage: kept, handed on, or raised, by policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SuvError
from pipeline.tables.status import patient_stage, propagate_exclusion, read_status


def test_ok_and_warned(tmp_path: Path) -> None:
    with patient_stage("suv", "P1", tmp_path, "stop"):
        (tmp_path / "kept").write_text("x")
    assert read_status(tmp_path).state == "ok" and (tmp_path / "kept").exists()
    with patient_stage("suv", "P1", tmp_path, "stop") as warnings:
        warnings.warn("uptake time 30 min")
    assert read_status(tmp_path).state == "warned" and "30 min" in read_status(tmp_path).problem


def test_excluded_folder_holds_only_its_status_and_is_handed_on(tmp_path: Path) -> None:
    first, second = tmp_path / "suv", tmp_path / "crop"
    with patient_stage("suv", "P1", first, "exclude"):
        (first / "half").write_text("x")
        raise SuvError("no dose", where="(0018,1074) Radionuclide Total Dose")
    assert [p.name for p in first.iterdir()] == ["status.json"]
    second.mkdir()
    (second / "stale").write_text("x")
    assert propagate_exclusion(first, second)
    assert [p.name for p in second.iterdir()] == ["status.json"]
    status = read_status(second)
    assert (status.state, status.stage) == ("excluded", "suv") and "no dose" in status.problem


def test_stop_names_the_patient(tmp_path: Path) -> None:
    with pytest.raises(SuvError, match=r"no dose; where: patient P1.*exclude"):
        with patient_stage("suv", "P1", tmp_path, "stop"):
            raise SuvError("no dose")


def test_a_mistake_of_ours_is_not_an_exclusion(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), patient_stage("suv", "P1", tmp_path, "exclude"):
        _ = 1 / 0
