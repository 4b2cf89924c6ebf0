"""A stage's folder proves itself: whatever the disk does to it is an error that stops."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DamageError, MachineError
from pipeline.provenance import OUTSIDE, set_job
from pipeline.tables import manifest
from pipeline.tables.status import (
    Status,
    patient_stage,
    propagate_exclusion,
    read_status,
    read_whole,
    stage_folder,
)

CONTENT = {"pet_suvbw.nii.gz": bytes(range(256)) * 40, "suv.json": b'{"factor": 2.5}\n'}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "suv" / "P1"
    with patient_stage("suv", "P1", path, "stop") as work:
        for name, data in CONTENT.items():
            (work.folder / name).write_bytes(data)
        (work.folder / "truth").mkdir()
        (work.folder / "truth/mask").write_bytes(b"m")
    (path / ".snakemake_timestamp").touch()
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_manifest_holds_every_file_with_size_and_hash(folder: Path) -> None:
    content = json.loads((folder / "status.json").read_text())
    assert sorted(content["files"]) == ["pet_suvbw.nii.gz", "suv.json", "truth/mask"]
    for name, data in CONTENT.items():
        assert content["files"][name] == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert content["made_by"] == OUTSIDE
    assert read_whole(folder) == read_status(folder) == Status("ok", "suv")


def test_what_made_the_folder_is_the_rules_code_and_settings_not_where_files_lie(tmp_path: Path) -> None:
    digests = []
    try:
        for parameters in (
            {"code": "a", "settings": {"x": 1}, "folder": "/archive/1"},
            {"settings": {"x": 1}, "code": "a", "folder": "/elsewhere/1"},
            {"code": "a", "settings": {"x": 2}, "folder": "/archive/1"},
            {"code": "b", "settings": {"x": 1}, "folder": "/archive/1"},
        ):
            set_job(parameters.items())
            with patient_stage("suv", "P1", tmp_path / "P1", "stop"):
                pass
            digests.append(json.loads((tmp_path / "P1/status.json").read_text())["made_by"])
    finally:
        set_job(())
    assert digests[0] == digests[1] and len(set(digests)) == 3 and OUTSIDE not in digests


def test_the_same_files_give_the_same_manifest(tmp_path: Path, folder: Path) -> None:
    again = tmp_path / "again"
    with patient_stage("suv", "P1", again, "stop") as work:
        (work.folder / "truth").mkdir()
        (work.folder / "truth/mask").write_bytes(b"m")
        for name, data in reversed(CONTENT.items()):
            (work.folder / name).write_bytes(data)
    assert (again / "status.json").read_bytes() == (folder / "status.json").read_bytes()


@pytest.mark.parametrize("name", [*CONTENT, "truth/mask", "status.json"])
@pytest.mark.parametrize("damage", [Path.unlink, cut, flip])
def test_damage_stops_and_names_the_file_and_what_to_delete(
    folder: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(folder / name)
    with pytest.raises(DamageError) as refusal:
        propagate_exclusion(folder, tmp_path / "next")
    message = str(refusal.value)
    assert refusal.value.exit_code == 74 and "\n" not in message
    assert f"where: {folder / name};" in message and "expected: " in message and "got: " in message
    assert f"delete {folder} and run the same command again" in message
    assert not (tmp_path / "next").exists()
    # Whoever reads the status alone sees all but a flipped bit of another file.
    if damage is not flip or name == "status.json":
        with pytest.raises(DamageError):
            read_status(folder)


def test_any_byte_of_the_status_that_changes_is_seen(folder: Path) -> None:
    path = folder / "status.json"
    data = path.read_bytes()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        path.write_bytes(changed)
        try:
            same = json.loads(changed) == json.loads(data)  # blanks between values
        except ValueError:
            same = False
        if not same:
            with pytest.raises(DamageError):
                read_status(folder)


def test_times_are_named_and_not_hashed(tmp_path: Path) -> None:
    for run, seconds in (("one", "1.5"), ("two", "12.25")):
        with stage_folder("train_fold", tmp_path / run, varying=("timing.json", "tensorboard")) as partial:
            (partial / "timing.json").write_text(seconds)
            (partial / "checkpoint.pt").write_bytes(b"weights")
    assert (tmp_path / "one/status.json").read_bytes() == (tmp_path / "two/status.json").read_bytes()
    assert read_whole(tmp_path / "one").state == "ok"
    (tmp_path / "one/timing.json").unlink()
    with pytest.raises(DamageError, match="timing.json; expected: a file or folder; got: none"):
        read_status(tmp_path / "one")


def test_sizes_are_named(folder: Path) -> None:
    cut(folder / "pet_suvbw.nii.gz")
    with pytest.raises(DamageError, match="expected: 10240 bytes; got: 10233 bytes"):
        read_status(folder)


def test_only_the_files_that_are_read_are_hashed(folder: Path) -> None:
    flip(folder / "pet_suvbw.nii.gz")
    assert read_whole(folder, "suv.json").state == "ok"
    flip(folder / "suv.json")
    with pytest.raises(DamageError, match="SHA-256"):
        read_whole(folder, "suv.json")


def test_a_folder_that_has_gone_and_a_file_that_nobody_wrote(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="expected: the folder; got: none"):
        read_status(tmp_path / "gone")
    (folder / "ct_imaged.nii.gz").write_bytes(b"stray")
    with pytest.raises(DamageError, match=r"ct_imaged\.nii\.gz; expected: no such file"):
        read_status(folder)


def test_a_folder_of_an_earlier_version_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "ok", "stage": "suv", "problem": "", "consequence": ""}')
    with pytest.raises(DamageError, match="expected: JSON with the manifest.*delete"):
        read_status(tmp_path)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_disk_that_cannot_be_read_stops(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def broken(path: Path) -> str:
        raise OSError(code, "broken", str(path))

    monkeypatch.setattr(manifest, "file_sha256", broken)
    with pytest.raises(MachineError, match="cannot be read or written") as refusal:
        read_whole(folder)
    assert refusal.value.exit_code == 74 and "not to blame" in str(refusal.value)
