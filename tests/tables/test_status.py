"""A patient's status after a stage: kept, handed on, or raised, by policy."""

from __future__ import annotations

import errno
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import MachineError, SuvError, UnexpectedDataError
from pipeline.tables.status import patient_stage, propagate_exclusion, read_status


def test_ok_and_warned(tmp_path: Path) -> None:
    folder = tmp_path / "suv"
    with patient_stage("suv", "P1", folder, "stop") as work:
        (work.folder / "kept").write_text("x")
    assert read_status(folder).state == "ok" and (folder / "kept").exists()
    with patient_stage("suv", "P1", folder, "stop") as work:
        work.warnings.warn("uptake time 30 min")
    assert read_status(folder).state == "warned" and "30 min" in read_status(folder).problem
    assert [path.name for path in folder.iterdir()] == ["status.json"]


def test_excluded_folder_holds_only_its_status_and_is_handed_on(tmp_path: Path) -> None:
    first, second = tmp_path / "suv", tmp_path / "crop"
    with patient_stage("suv", "P1", first, "exclude") as work:
        (work.folder / "half").write_text("x")
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


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("division by zero"),
        OverflowError("date value out of range"),
        np.linalg.LinAlgError("Singular matrix"),
        UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"),
        ValueError("embedded null byte"),
        OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000),
        gzip.BadGzipFile("CRC check failed"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "a.dcm/b.dcm"),
        struct.error("unpack requires a buffer of 4 bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_data_provoke_excludes_the_patient(tmp_path: Path, error: Exception) -> None:
    with patient_stage("convert", "P1", tmp_path / "exclude", "exclude"):
        raise error
    status = read_status(tmp_path / "exclude")
    assert status.state == "excluded" and type(error).__name__ in status.problem
    assert len(status.problem) < 600
    with pytest.raises(UnexpectedDataError, match="patient P1"):
        with patient_stage("convert", "P1", tmp_path / "stop", "stop"):
            raise error


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "a.dcm"),
        OSError(errno.EIO, "Input/output error", "a.dcm"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "gone while it was read.dcm"),
        OSError(errno.ENOSPC, "No space left on device", "a.dcm"),
        MemoryError("Unable to allocate 900 GiB"),
    ],
    ids=lambda error: type(error).__name__ + str(getattr(error, "errno", "")),
)
@pytest.mark.parametrize("policy", ["stop", "exclude"])
def test_what_the_machine_says_stops_whatever_the_policy(tmp_path: Path, error: Exception, policy) -> None:
    with pytest.raises(MachineError) as refusal, patient_stage("convert", "P1", tmp_path / "P1", policy):
        raise error
    assert refusal.value.exit_code == 74
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_of_ours_is_not_an_exclusion(tmp_path: Path) -> None:
    with pytest.raises(NameError), patient_stage("suv", "P1", tmp_path, "exclude"):
        raise NameError("name 'dose' is not defined")
