"""The files that a scan reads in any folder: links, pipes, archives, DICOMDIR."""

import errno
import json
import os
import shutil
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from pipeline.dicom.series.index import index_patient
from pipeline.dicom.series.index_file import chosen, files_of
from pipeline.dicom.series.scan import scan_folder
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError, MachineError
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles, files_digest
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import read_nifti
from tests.dicom.series.index_helpers import index
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series


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


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_read_stops_the_study(tmp_path, monkeypatch, number):
    folder = write_pair(tmp_path / "in")
    (folder / "closed").mkdir()
    scandir = os.scandir

    def guarded(path):  # tests may run as root, who may read everything
        if str(path).endswith("closed"):
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(MachineError, match=f"closed; got: {os.strerror(number)}"):
        index(folder, tmp_path / "index")
    assert len(digest(folder)) == 16  # the workflow starts, and this patient's stage says it


def digest(folder):
    files_digest.cache_clear()
    return files_digest(folder)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_file_that_cannot_be_read_is_no_missing_series(tmp_path, monkeypatch, number):
    folder = write_pair(tmp_path / "in")
    plain_open = Path.open

    def guarded(path, *arguments, **named):
        if path.name == "003.dcm":
            raise OSError(number, os.strerror(number), str(path))
        return plain_open(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", guarded)
    with pytest.raises(MachineError, match="003.dcm"):
        index_patient(PatientFiles("P1", folder), IndexSettings(), tmp_path / "index", "exclude")


def test_a_link_to_what_may_not_be_looked_at_stops_too(tmp_path, monkeypatch):
    folder = write_pair(tmp_path / "in")
    (folder / "linked.dcm").symlink_to(tmp_path / "elsewhere")
    is_file = Path.is_file

    def guarded(path):
        if path.name == "linked.dcm":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", guarded)
    with pytest.raises(MachineError, match="linked.dcm"):
        index(folder, tmp_path / "index")
    assert len(digest(folder)) == 16


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


def test_zipped_folder_with_relative_paths_as_the_workflow_has_them(tmp_path, monkeypatch):
    write_pair(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in sorted((tmp_path / "in").rglob("*.dcm")):
            archive.write(path, f"{path.parent.name}/{path.name}")
    (tmp_path / "data").mkdir()
    (tmp_path / "export.zip").rename(tmp_path / "data" / "export.zip")
    monkeypatch.chdir(tmp_path)
    index_patient(PatientFiles("P1", Path("data")), IndexSettings(), Path("results/index/P1"), "stop")
    convert_patient(Path("results/index/P1"), Path("results/convert/P1"), ConvertSettings(), "stop")
    assert read_nifti(Path("results/convert/P1/pet_stored.nii.gz")).array.shape == (9, 7, 6)


def zip_of(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_members_that_are_no_dicom_are_not_unpacked(tmp_path):
    folder = write_pair(tmp_path / "in")
    zip_of(folder / "zeros.zip", {"zeros.bin": bytes(50 << 20), "notes.txt": b"x"})
    assert index(folder, tmp_path / "index").skipped == {"not DICOM": 2}
    assert not list((tmp_path / "index").rglob("*.dcm"))


def test_archives_beyond_the_limit_are_refused_and_leave_nothing(tmp_path):
    folder = write_pair(tmp_path / "in")
    large = bytes(128) + b"DICM" + bytes(2 << 20)
    zip_of(folder / "bomb.zip", {f"{n}.dcm": large for n in range(3)})
    index_patient(
        PatientFiles("P1", folder), IndexSettings(max_unpacked_mib=5), tmp_path / "index", "exclude"
    )
    assert "index.max_unpacked_mib" in read_status(tmp_path / "index").problem
    assert [path.name for path in (tmp_path / "index").iterdir()] == ["status.json"]


def test_a_deflated_file_beyond_the_limit_is_passed_over(tmp_path):
    folder = write_pair(tmp_path / "in")
    ds = pydicom.dcmread(folder / "pet" / "000.dcm")
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(folder / "pet" / "000.dcm")
    assert chosen(index(folder, tmp_path / "a"), "pet").instances == 9
    ds.add_new(0x00091010, "UN", bytes(3 << 20))
    ds.save_as(folder / "pet" / "000.dcm")
    assert (folder / "pet" / "000.dcm").stat().st_size < 20_000
    told = index(folder, tmp_path / "b", max_deflated_mib=1)
    assert told.skipped == {"deflated DICOM larger than index.max_deflated_mib": 1}
    assert "passed over" in read_status(tmp_path / "b").problem


def copy_with(folder, edit):
    ds = pydicom.dcmread(folder / "pet" / "003.dcm")
    edit(ds)
    ds.save_as(folder / "pet" / "copy.dcm")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleSlope", "5.0"),
        ("PatientWeight", "140"),
        ("AcquisitionTime", "110000"),
        ("ImagePositionPatient", [0, 0, 0]),
        ("PixelData", bytes(84)),
        ("FrameOfReferenceUID", "1.2.3"),
    ],
)
def test_one_uid_with_two_contents_is_refused(tmp_path, keyword, value):
    folder = write_pair(tmp_path / "in")
    copy_with(folder, lambda ds: setattr(ds, keyword, value))
    with pytest.raises(DicomError, match="hold different contents") as refusal:
        index(folder, tmp_path / "index")
    assert str(pydicom.tag.Tag(keyword)) in str(refusal.value)


def rewritten(ds):
    """What an archive changes when it hands a file out: who, where, how it is stored."""
    ds.PatientName, ds.AccessionNumber, ds.InstitutionName = "Other^Name", "7", "Elsewhere"
    ds.SeriesNumber, ds.RetrieveAETitle = 12, "PACS"
    ds.file_meta.ImplementationVersionName = "ANOTHER"
    ds.compress(RLELossless, generate_instance_uid=False)


def test_a_copy_that_an_archive_has_rewritten_counts_once(tmp_path):
    folder = write_pair(tmp_path / "in")
    copy_with(folder, rewritten)
    series_index = index(folder, tmp_path / "index")
    assert chosen(series_index, "pet").instances == 9
    assert sum(n for reason, n in series_index.skipped.items() if "duplicate" in reason) == 1


def test_two_contents_in_a_series_that_is_not_used_are_no_matter(tmp_path):
    folder = write_pair(tmp_path / "in")
    short = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="short")
    write_series(folder / "short", voxels((3, 7, 6)), short)
    ds = pydicom.dcmread(folder / "short" / "000.dcm")
    ds.RescaleSlope = "7"
    ds.save_as(folder / "short" / "again.dcm")
    assert chosen(index(folder, tmp_path / "index"), "pet").description == "pet"


def test_broken_archive_is_told(tmp_path):
    folder = write_pair(tmp_path / "in")
    (folder / "half.zip").write_bytes(b"PK\x03\x04" + os.urandom(200))
    assert index(folder, tmp_path / "index").skipped == {"archive that cannot be unpacked": 1}


def test_many_files_in_parallel_give_the_same(tmp_path, monkeypatch):
    folder = write_pair(tmp_path / "in")
    monkeypatch.setattr("pipeline.dicom.series.scan._PARALLEL_FROM", 5)
    parallel = scan_folder(folder, tmp_path / "unpacked", workers=2)
    assert parallel == scan_folder(folder, tmp_path / "unpacked", workers=1)


@pytest.mark.parametrize("kept", [5, 12], ids=["a part", "all"])
def test_a_series_sent_again_under_another_uid_is_one_series(tmp_path, kept):
    folder = write_pair(tmp_path / "in")
    paths = sorted((folder / "ct").iterdir())
    (folder / "again").mkdir()
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.SeriesInstanceUID = "1.2.3.4"
        ds.save_as(folder / "again" / path.name)
    for path in paths[kept:]:
        path.unlink()
    series_index = index(folder, tmp_path / "index")
    assert chosen(series_index, "ct").instances == 12
    assert [row.role for row in series_index.series] == ["ct", "pet"]
    assert read_status(tmp_path / "index").state == "ok"


def test_a_ct_that_ends_within_the_pet_is_told(tmp_path):
    folder = write_pair(tmp_path / "in")
    for number in range(3):
        (folder / "ct" / f"{number:03d}.dcm").unlink()
    index(folder, tmp_path / "index")
    assert "CT: it covers 72 % of the length of the PET" in read_status(tmp_path / "index").problem
