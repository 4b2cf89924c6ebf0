"""Results appear under their name only when they are whole, whatever ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import MachineError, SuvError
from pipeline.tables.status import patient_stage, read_whole
from pipeline.tables.whole import whole_file, whole_folder, write_bytes

ROOT = Path(__file__).parents[2]


def killed(code: str) -> None:
    """Run code in a process of its own until it prints a line, and kill that (SIGKILL)."""
    command = [sys.executable, "-c", "import time\nfrom pathlib import Path\n" + code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"now\n"
        os.kill(process.pid, signal.SIGKILL)


def test_a_stage_killed_in_the_middle_leaves_no_folder_under_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "convert" / "P1"
    killed(f"""
from pipeline.tables.status import patient_stage
with patient_stage("convert", "P1", Path({str(folder)!r}), "exclude") as work:
    (work.folder / "ct_hu.nii.gz").write_bytes(b"half")
    print("now", flush=True)
    time.sleep(60)
""")
    assert [path.name for path in folder.parent.iterdir()] == [".P1.partial"]
    with patient_stage("convert", "P1", folder, "exclude") as work:
        assert list(work.folder.iterdir()) == []
        (work.folder / "pet.json").write_text("{}")
    assert [path.name for path in folder.parent.iterdir()] == ["P1"]
    assert sorted(path.name for path in folder.iterdir()) == ["pet.json", "status.json"]
    assert read_whole(folder).state == "ok"


def test_an_older_result_has_gone_before_the_new_one_begins(tmp_path: Path) -> None:
    """Killed while the stage runs again: nobody takes the old folder for the new result."""
    folder = tmp_path / "P1"
    for _ in range(2):
        with whole_folder(folder) as partial:
            assert not folder.exists()
            (partial / "a").write_text("x")
    killed(f"""
from pipeline.tables.whole import whole_folder
with whole_folder(Path({str(folder)!r})):
    print("now", flush=True)
    time.sleep(60)
""")
    assert not folder.exists()


def test_a_file_half_written_is_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_bytes(path, b"old")
    killed(f"""
from pipeline.tables.whole import whole_file
with whole_file(Path({str(path)!r})) as partial:
    partial.write_bytes(b"ne")
    print("now", flush=True)
    time.sleep(60)
""")
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [SuvError("no dose"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_a_block_that_raises_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    for context in (whole_folder, whole_file):
        with pytest.raises(type(error)), context(tmp_path / "result") as partial:
            target = partial / "a" if partial.is_dir() else partial
            target.write_text("half")
            raise error
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_the_stage_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MachineError), patient_stage("suv", "P1", tmp_path / "P1", "exclude") as work:
        (work.folder / "pet_suvbw.nii.gz").write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
