"""An archive that vanishes while a run is at work stops the run; a patient without images is left out."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.crops.ingest import ingest_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert_nifti import convert_nifti
from pipeline.errors import MachineError, PatientError
from pipeline.settings.base import Policy
from pipeline.settings.cohort import NiftiSettings
from pipeline.settings.dicom import IndexSettings
from pipeline.store.crops import read_status as crop_status
from pipeline.tables.files import (
    NO_IMAGES,
    PatientFiles,
    images_in_place,
    is_absent,
    read_absent,
    write_absent,
)
from pipeline.tables.status import read_status

NIFTI = NiftiSettings(nifti_pet_quantity="suvbw")


def planned(tmp_path: Path, absent: list[str]) -> PatientFiles:
    """A patient of a run that began with a list of patients without images."""
    write_absent(tmp_path / "absent.json", absent)
    return PatientFiles("P1", tmp_path / "images" / "P1", absent=tmp_path / "absent.json")


def first_stage(source: str, patient: PatientFiles, out: Path, policy: Policy = "exclude") -> None:
    if source == "dicom":
        index_patient(patient, IndexSettings(), out, policy)
    elif source == "nifti":
        convert_nifti(patient, out, NIFTI, policy)
    else:
        ingest_patient(patient, out, policy)


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("source", ["dicom", "nifti", "slices"])
def test_only_images_that_were_missing_from_the_start_exclude(
    tmp_path: Path, source: str, empty: bool
) -> None:
    out = tmp_path / ("P1.zarr" if source == "slices" else "P1")
    if empty:
        (tmp_path / "images" / "P1").mkdir(parents=True)
    with pytest.raises(
        MachineError, match="there when the run began, and are gone.*patient P1.*mount"
    ) as stop:
        first_stage(source, planned(tmp_path, ["P2"]), out)
    assert stop.value.exit_code == 74
    first_stage(source, planned(tmp_path, ["P1"]), out)
    status = crop_status(out) if source == "slices" else read_status(out)
    assert status.state == "excluded" and status.problem.startswith(NO_IMAGES)


def test_an_archive_that_goes_while_it_is_read_is_no_broken_patient(tmp_path: Path) -> None:
    patient = planned(tmp_path, [])
    patient.folder.mkdir(parents=True)
    (patient.folder / "1.dcm").write_bytes(b"1")
    with pytest.raises(MachineError, match="changed, or went, while they were read"):
        with images_in_place(patient):
            shutil.rmtree(tmp_path / "images")
            raise PatientError("a slice cannot be read")
    patient.folder.mkdir(parents=True)
    (patient.folder / "1.dcm").write_bytes(b"1")
    with pytest.raises(MachineError, match="changed, or went"):
        with images_in_place(patient):  # a reading that noticed nothing
            (patient.folder / "1.dcm").write_bytes(b"22")
    with pytest.raises(PatientError, match="a slice cannot be read"):
        with images_in_place(patient):
            raise PatientError("a slice cannot be read")


def test_slices_that_are_there_are_read(tmp_path: Path) -> None:
    patient = planned(tmp_path, [])
    patient.folder.mkdir(parents=True)
    np.save(patient.folder / "image.npy", np.ones((4, 5), dtype=np.float32))
    ingest_patient(patient, tmp_path / "P1.zarr", "stop")
    assert crop_status(tmp_path / "P1.zarr").state == "ok"


def test_a_closed_folder_is_neither_there_nor_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom no right stops: the system's refusal is simulated."""

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    patient = planned(tmp_path, ["P1"])
    patient.folder.mkdir(parents=True)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        is_absent(patient.folder)
    with pytest.raises(MachineError, match="cannot be read or written"):
        first_stage("nifti", patient, tmp_path / "out")


def test_files_links_and_names_that_no_system_takes(tmp_path: Path) -> None:
    (tmp_path / "image.png").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(tmp_path / "image.png")
    assert not is_absent(tmp_path / "image.png") and not is_absent(tmp_path / "linked")
    for name in ("nowhere", "dangling", "image.png/below", "x" * 300):
        assert is_absent(tmp_path / name), name


def test_no_list_where_no_images_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "results" / "absent.json"
    write_absent(path, ["P1"])
    assert read_absent(path) == ["P1"]
    write_absent(path, [])
    assert not path.exists() and read_absent(path) == []
