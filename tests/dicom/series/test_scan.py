"""The files that a scan reads in any folder: links, pipes, archives, DICOMDIR."""

import json
import os
import shutil
import zipfile

import pytest
from pydicom.fileset import FileSet

from pipeline.dicom.series.index_file import chosen, files_of
from pipeline.dicom.series.scan import scan_folder
from tests.dicom.series.index_helpers import index
from tests.dicom.write_dicom import write_pair


def test_any_tree_of_files(tmp_path):
    folder = write_pair(tmp_path / "in")
    for number, path in enumerate(sorted((folder / "ct").iterdir())):
        deep = folder / "a b" / f"ü{number % 3}"
        deep.mkdir(parents=True, exist_ok=True)
        path.rename(deep / f"IM{number}")  # no ending
    (folder / "notes.txt").write_text("not DICOM")
    (folder / "empty").write_bytes(b"")
    (folder / "broken.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    shutil.copy(folder / "pet" / "000.dcm", folder / "pet" / "copy.dcm")
    series_index = index(folder, tmp_path / "index")
    assert chosen(series_index, "ct").instances == 12
    assert chosen(series_index, "pet").instances == 9
    assert sum(series_index.skipped.values()) == 4
    assert any("duplicate" in reason for reason in series_index.skipped)
    status = json.loads((tmp_path / "index" / "status.json").read_text())
    assert status["state"] == "warned"
    assert "passed over" in status["problem"]


def test_linked_folders_are_entered_once(tmp_path):
    # The PET lies behind a link; another link leads back to the top, and one to nowhere.
    folder = write_pair(tmp_path / "in")
    (folder / "pet").rename(tmp_path / "archive")
    (folder / "pet").symlink_to(tmp_path / "archive")
    (folder / "ct" / "top").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    series_index = index(folder, tmp_path / "index")
    assert chosen(series_index, "pet").instances == 9 and chosen(series_index, "ct").instances == 12
    assert series_index.skipped == {"not a regular file (a pipe, a device or a broken link)": 1}
    assert all(path.is_file() for path in files_of(series_index, chosen(series_index, "pet")))


@pytest.mark.timeout(120)
def test_a_pipe_does_not_hang(tmp_path):
    folder = write_pair(tmp_path / "in")
    try:
        os.mkfifo(folder / "pipe.dcm")
    except OSError:
        pytest.skip("a file system without pipes")
    assert "pipe" in "".join(index(folder, tmp_path / "index").skipped)


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    folder = write_pair(tmp_path / "in")
    (folder / "closed").mkdir()
    scandir = os.scandir

    def guarded(path):  # tests may run as root, who may read everything
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert index(folder, tmp_path / "index").skipped == {"folder that cannot be read": 1}
    assert "folder that cannot be read" in (tmp_path / "index" / "status.json").read_text()


def test_names_that_are_no_utf8(tmp_path):
    folder = write_pair(tmp_path / "in")
    for path in sorted((folder / "pet").iterdir()):
        try:
            path.rename(os.fsdecode(os.fsencode(folder / "pet") + b"/\xe9\xff" + os.fsencode(path.name)))
        except OSError:
            pytest.skip("a file system of UTF-8 names")
    series_index = index(folder, tmp_path / "index")
    assert all(path.is_file() for path in files_of(series_index, chosen(series_index, "pet")))


def test_dicomdir_is_passed_over_and_its_files_found(tmp_path):
    def edit(ds, _):
        ds.StudyID, ds.SeriesNumber = "1", 1

    write_pair(tmp_path / "in", edit, edit)
    media = FileSet()
    for path in sorted((tmp_path / "in").rglob("*.dcm")):
        media.add(path)
    media.write(tmp_path / "disc")
    series_index = index(tmp_path / "disc", tmp_path / "index")
    assert chosen(series_index, "ct").instances == 12
    assert series_index.skipped == {"DICOMDIR (its files are found by themselves)": 1}


def test_zipped_folder(tmp_path):
    write_pair(tmp_path / "in")
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped" / "export.zip", "w") as archive:
        for path in sorted((tmp_path / "in").rglob("*.dcm")):
            archive.write(path, f"../../{path.parent.name}/{path.name}")  # names that climb out
    series_index = index(tmp_path / "zipped", tmp_path / "index")
    paths = files_of(series_index, chosen(series_index, "pet"))
    assert len(paths) == 9
    assert all(p.is_relative_to(tmp_path / "index" / "unpacked") and p.is_file() for p in paths)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "index", "zipped"]


def test_broken_archive_is_told(tmp_path):
    folder = write_pair(tmp_path / "in")
    (folder / "half.zip").write_bytes(b"PK\x03\x04" + os.urandom(200))
    assert index(folder, tmp_path / "index").skipped == {"archive that cannot be unpacked": 1}


def test_many_files_in_parallel_give_the_same(tmp_path, monkeypatch):
    folder = write_pair(tmp_path / "in")
    monkeypatch.setattr("pipeline.dicom.series.scan._PARALLEL_FROM", 5)
    parallel = scan_folder(folder, tmp_path / "unpacked", workers=2)
    assert parallel == scan_folder(folder, tmp_path / "unpacked", workers=1)
