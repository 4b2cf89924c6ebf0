"""Cohort tables drafted from DICOM dumps."""

from __future__ import annotations

import csv
import stat
import zipfile
import zlib

import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.__main__ import main
from pipeline.dicom.series.cohort_draft import _names, describe, draft_cohort
from pipeline.errors import DicomError, SettingsError, TableError
from pipeline.settings.cohort import CohortSettings
from pipeline.tables.cohort import read_cohort
from pipeline.tables.outcome_join import OutcomeSource, named_columns

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "PT": "1.2.840.10008.5.1.4.1.1.128"}
KINDS = ("CT", "PT", "RTSTRUCT", "MR")
NAME = "DOE^JANE"


def instance(path, patient, modality, study="1", roi=""):
    """A file with the headers that the draft reads."""
    number = instance.count = getattr(instance, "count", 0) + 1
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CLASSES.get(modality, "1.2.840.10008.5.1.4.1.1.481.3")
    dataset.SOPInstanceUID = f"1.9.{number}"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientID, dataset.PatientName, dataset.Modality = patient, NAME, modality
    dataset.StudyInstanceUID = f"1.7.{study}"
    dataset.SeriesInstanceUID = (
        f"1.8.{zlib.crc32(patient.encode())}.{study}.{list(KINDS).index(modality) + 1}"
    )
    if roi:
        item = Dataset()
        item.ROINumber, item.ROIName = 1, roi
        dataset.StructureSetROISequence = [item]
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture()
def dump(tmp_path):
    root = tmp_path / "dump"
    instance(root / "a/ct.dcm", "11", "CT")
    instance(root / "a/pet.dcm", "11", "PT")
    instance(root / "a/rs.dcm", "11", "RTSTRUCT", roi="GTV 1")
    for study in "12":
        instance(root / f"b/{study}/ct.dcm", "22", "CT", study)
        instance(root / f"b/{study}/pet.dcm", "22", "PT", study)
    instance(root / "c/ct.dcm", "33", "CT")
    instance(root / "d/mr.dcm", "44", "MR")
    (root / "readme.txt").write_text("nothing")
    return root


def test_a_row_per_patient_with_outcomes_blank(dump, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draft_cohort(dump, tmp_path / "new/mine.csv")
    table = rows(tmp_path / "new/mine.csv")
    assert [row["patient_id"] for row in table] == ["P0001", "P0002", "P0003"]
    assert [row["image_path"] for row in table] == ["dump/a", "dump/b", "dump/c"]
    assert all(row["time_days"] == row["event"] == row["roi"] == "" for row in table)
    notes = {row["patient_id"]: row["note"] for row in rows(tmp_path / "new/mine.notes.csv")}
    assert notes["P0001"] == ""
    assert "2 studies with PET and CT" in notes["P0002"] and "no contours" in notes["P0002"]
    assert notes["P0003"].startswith("no PET")
    assert "neither PET nor CT" in notes["P0004"]


def test_the_table_is_valid_once_outcomes_are_filled_in(dump, tmp_path):
    out = tmp_path / "mine.csv"
    draft_cohort(dump, out)
    out.write_text(out.read_text().replace(",,,\n", ",,100,1\n"))
    cohort = read_cohort(CohortSettings(table=str(out)))
    assert cohort.ids() == ["P0001", "P0002", "P0003"]


def test_identifiers_are_in_the_private_key_table_alone(dump, tmp_path, capsys):
    out = tmp_path / "mine.csv"
    draft = draft_cohort(dump, out)
    key = tmp_path / "mine.key.csv"
    assert [row["dicom_patient_id"] for row in rows(key)] == ["11", "22", "33", "44"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    text = describe(draft, out)
    assert "'GTV 1' (1)" in text and "3 patients drafted" in text
    for shown in (text, out.read_text(), (tmp_path / "mine.notes.csv").read_text(), key.read_text()):
        assert "DOE" not in shown and "1.7.1" not in shown


def test_patients_in_one_folder_get_folders_of_links(tmp_path):
    for number in range(3):
        instance(tmp_path / f"flat/{number}.dcm", "55", "CT")
        instance(tmp_path / f"flat/{number}x.dcm", "66", "PT")
    draft_cohort(tmp_path / "flat", tmp_path / "mine.csv")
    for row in rows(tmp_path / "mine.csv"):
        links = sorted((tmp_path / "mine.links" / row["patient_id"]).iterdir())
        assert len(links) == 3 and all(link.is_symlink() and link.exists() for link in links)
        assert row["image_path"].endswith(f"mine.links/{row['patient_id']}")


def test_archives_are_looked_into(tmp_path):
    instance(tmp_path / "z/ct.dcm", "77", "CT")
    (tmp_path / "dump").mkdir()
    with zipfile.ZipFile(tmp_path / "dump/one.zip", "w") as archive:
        archive.write(tmp_path / "z/ct.dcm", "ct.dcm")
    draft_cohort(tmp_path / "dump", tmp_path / "mine.csv")
    assert rows(tmp_path / "mine.csv")[0]["image_path"].endswith("dump/one.zip")
    instance(tmp_path / "z/ct2.dcm", "88", "CT")
    with zipfile.ZipFile(tmp_path / "dump/one.zip", "a") as archive:
        archive.write(tmp_path / "z/ct2.dcm", "ct2.dcm")
    with pytest.raises(DicomError, match="several patients"):
        draft_cohort(tmp_path / "dump", tmp_path / "again.csv")


def test_nothing_is_overwritten_and_nothing_found_is_told(dump, tmp_path, capsys):
    out = tmp_path / "mine.csv"
    assert main(["draft", str(dump), str(out)]) == 0
    before = out.read_text()
    assert main(["draft", str(dump), str(out)]) == 1
    assert "would overwrite" in capsys.readouterr().err and out.read_text() == before
    (tmp_path / "empty").mkdir()
    with pytest.raises(DicomError, match="no DICOM file"):
        draft_cohort(tmp_path / "empty", tmp_path / "a.csv")
    with pytest.raises(DicomError, match="does not exist"):
        draft_cohort(tmp_path / "nowhere", tmp_path / "b.csv")
    with pytest.raises(TableError, match="must be a CSV"):
        draft_cohort(dump, tmp_path / "table.xlsx")


@pytest.mark.parametrize(
    ("key", "cell"),
    [
        ('=HYPERLINK("http://x","y")', "'=HYPERLINK"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM"),
        ("12-3", "12-3"),
    ],
)
def test_no_cell_of_the_key_file_is_a_formula(tmp_path, key, cell):
    instance(tmp_path / "dump/a/ct.dcm", key, "CT")
    draft_cohort(tmp_path / "dump", tmp_path / "c.csv")
    (row,) = rows(tmp_path / "c.key.csv")
    assert row["dicom_patient_id"].startswith(cell)


def test_ids_that_can_name_files_are_kept_on_request(dump, tmp_path):
    """Ids that differ by case only, or that cannot name files, get running numbers."""
    keys = ["STS_001", "a/b", "x", "X", "P0001"]
    assert _names(keys, keep_ids=True) == {
        "STS_001": "STS_001", "a/b": "P0002", "x": "P0003", "X": "P0004", "P0001": "P0005",
    }  # fmt: skip
    assert set(_names(keys, keep_ids=False).values()) == {f"P000{n}" for n in range(1, 6)}


def outcomes(path, *rows):
    path.write_text("\n".join(("mrn,followup,event,clinical_change,sex", *rows)) + "\n")
    return OutcomeSource(path, "mrn", named_columns(["time_days=followup"]))


def test_outcomes_are_joined_by_the_id_of_the_images(tmp_path):
    for patient in ("A1", "B2"):
        instance(tmp_path / f"dump/{patient}/ct.dcm", patient, "CT")
    source = outcomes(tmp_path / "o.csv", "B2,700.5,0,-3,m", "C3,9,1,1,f", "A1,55,1,=1+1,f")
    draft = draft_cohort(tmp_path / "dump", tmp_path / "mine.csv", source)
    rows = list(csv.DictReader((tmp_path / "mine.csv").open()))
    taken = [(row["patient_id"], row["time_days"], row["event"], row["clinical_change"]) for row in rows]
    # A negative number stays one; what a spreadsheet would compute does not.
    assert taken == [("P0001", "55", "1", "'=1+1"), ("P0002", "700.5", "0", "-3")]
    text = describe(draft, tmp_path / "mine.csv")
    assert "1 rows have no images: C3" in text and "nothing was taken from (--take NAME=COLUMN): sex" in text


def test_outcomes_that_cannot_be_joined_are_refused(tmp_path):
    instance(tmp_path / "dump/a/ct.dcm", "A1", "CT")
    for rows, message in (
        (("A1,5,1,0,m", "A1,6,1,0,m"), "two rows have the same mrn"),
        (("a1,5,1,0,m",), "no row has the DICOM Patient ID"),
    ):
        with pytest.raises(TableError, match=message):
            draft_cohort(tmp_path / "dump", tmp_path / "mine.csv", outcomes(tmp_path / "o.csv", *rows))
        assert not (tmp_path / "mine.csv").exists()
    with pytest.raises(TableError, match="has no column 'nr'"):
        draft_cohort(tmp_path / "dump", tmp_path / "m.csv", OutcomeSource(tmp_path / "o.csv", "nr", {}))
    with pytest.raises(SettingsError, match="once as NAME=COLUMN"):
        named_columns(["days=followup"])
