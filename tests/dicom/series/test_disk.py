"""What the disk does while images are read never excludes a patient; what the bytes say does."""

from __future__ import annotations

import builtins
import errno
import io
from pathlib import Path

import pytest

from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DamageError, MachineError
from pipeline.phantoms.phantom import write_patient
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.phantom import PhantomSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status

SMALL = PhantomSettings(
    ct_shape=(24, 48, 48),
    ct_spacing_mm=(10.0, 8.0, 8.0),
    pet_shape=(24, 32, 32),
    pet_spacing_mm=(10.0, 12.0, 12.0),
)


@pytest.fixture
def patient(tmp_path: Path) -> PatientFiles:
    write_patient("P001", SMALL, tmp_path / "results/phantom/P001")
    return PatientFiles("P001", tmp_path / "results/phantom/P001/dicom")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "results/index/P001"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOENT])
def test_a_file_that_cannot_be_read_stops_every_stage(
    patient: PatientFiles, index: Path, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = sorted((patient.folder / "PET").iterdir())[3]
    plain = io.open

    def opened(file, *args, **kwargs):
        if str(file) == str(victim):
            if code == errno.ENOENT:
                victim.unlink()
            raise OSError(code, "broken", str(file))
        return plain(file, *args, **kwargs)

    def break_disk() -> None:
        monkeypatch.setattr(io, "open", opened)
        monkeypatch.setattr(builtins, "open", opened)

    archive = PatientFiles("P001", tmp_path / "archive")
    patient.folder.rename(archive.folder)  # as a hospital's, which has no manifest
    victim = sorted((archive.folder / "PET").iterdir())[3]
    content = victim.read_bytes()
    break_disk()
    with pytest.raises(MachineError) as refusal:
        index_patient(archive, IndexSettings(), index, "exclude")
    assert refusal.value.exit_code == 74 and not index.exists()
    monkeypatch.undo()
    victim.write_bytes(content)
    index_patient(archive, IndexSettings(), index, "exclude")
    break_disk()
    with pytest.raises(MachineError):
        convert_patient(index, tmp_path / "results/convert/P001", ConvertSettings(), "exclude")
    assert not (tmp_path / "results/convert/P001").exists()


def test_a_generated_patient_with_a_damaged_file_is_not_read(patient: PatientFiles, index: Path) -> None:
    index_patient(patient, IndexSettings(), index, "exclude")
    assert read_status(index).state == "ok"
    file = sorted((patient.folder / "CT").iterdir())[0]
    data = bytearray(file.read_bytes())
    data[-40] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamageError, match=rf"where: .*{file.name}; .*delete .*phantom/P001 and run"):
        index_patient(patient, IndexSettings(), index, "exclude")
    assert not index.exists()


def test_a_deleted_volume_is_not_a_patient_without_pet(
    patient: PatientFiles, index: Path, tmp_path: Path
) -> None:
    convert, suv = tmp_path / "results/convert/P001", tmp_path / "results/suv/P001"
    index_patient(patient, IndexSettings(), index, "exclude")
    convert_patient(index, convert, ConvertSettings(), "exclude")
    for name in ("pet_stored.nii.gz", "pet.json"):
        text = (convert / name).read_bytes()
        (convert / name).unlink()
        with pytest.raises(DamageError, match="a result of the pipeline"):
            suv_patient(convert, suv, SuvSettings(), "exclude")
        assert not suv.exists()
        (convert / name).write_bytes(text)
    suv_patient(convert, suv, SuvSettings(), "exclude")
    assert read_status(suv).state in ("ok", "warned")
