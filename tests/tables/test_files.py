"""What lies in a patient's folder, told by a hash."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.tables.files import files_digest


def digest(folder: Path) -> str:
    files_digest.cache_clear()
    return files_digest(folder)


def test_files_deep_in_a_folder_count(tmp_path: Path) -> None:
    deep = tmp_path / "P1" / "study" / "pet"
    deep.mkdir(parents=True)
    slice_file = deep / "1.dcm"
    slice_file.write_bytes(b"dose 370")
    os.utime(slice_file, (1000, 1000))
    before, top = digest(tmp_path / "P1"), (tmp_path / "P1").stat().st_mtime_ns
    assert before == digest(tmp_path / "P1") and len(before) == 16
    # Replaced in place by a file of the same length: the upper folder's time does not move.
    slice_file.write_bytes(b"dose 310")
    assert (tmp_path / "P1").stat().st_mtime_ns == top
    changed = digest(tmp_path / "P1")
    (deep / "2.dcm").write_bytes(b"")
    assert len({before, changed, digest(tmp_path / "P1")}) == 3


def test_one_file_and_none(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"1")
    assert len(digest(tmp_path / "image.png")) == 16
    assert digest(tmp_path / "absent") == ""


def test_linked_folders_count_and_end(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "1.dcm").write_bytes(b"1")
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "pet").symlink_to(tmp_path / "archive")
    (tmp_path / "P1" / "again").symlink_to(tmp_path / "P1")
    before = digest(tmp_path / "P1")
    (tmp_path / "archive" / "1.dcm").write_bytes(b"22")
    assert before and digest(tmp_path / "P1") != before
