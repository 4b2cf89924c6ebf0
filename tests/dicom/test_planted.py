"""An identifier in every text element of a patient: none leaves the index and the key file.

The words are made up and each is unlike any other, so that a search of all bytes finds them wherever they went.
"""

from __future__ import annotations

import gzip
import logging
import re
import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import DicomDictionary

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.cohort_draft import describe, draft_cohort
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from tests.dicom.contours.contour_helpers import RoiSpec, rtstruct, square
from tests.dicom.write_dicom import FRAME, STUDY, Recipe, write_pair

TEXTS = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "AE")
GROUPS = (0x0008, 0x0010, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040, 0x4008)
SHOWN = (
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "Radiopharmaceutical",
)
"""Elements whose text results show by default; the documentation of privacy lists them."""
KEYWORDS = sorted(
    entry[4]
    for tag, entry in DicomDictionary.items()
    if tag >> 16 in GROUPS and entry[0] in TEXTS and entry[1].startswith("1") and not entry[3] and entry[4]
)
WORDS = {keyword: f"Qx{number:03d}zebra" for number, keyword in enumerate(KEYWORDS)}
ROI_WORD, FOLDER_WORD, FILE_WORD, PRIVATE_WORD = (
    "Qxroizebra",
    "Qxfolderzebra",
    "Qxfilezebra",
    "Qxprivatezebra",
)
WORD = re.compile(rb"Qx\w{3,8}zebra")
UID = re.compile(rb"\b[0-2]\.\d+(?:\.\d+){6,}\b")
# Times of day and dates that nothing computes by chance, and how messages would write them.
DAYS = {
    "StudyDate": "20170823",
    "SeriesDate": "20170823",
    "AcquisitionDate": "20170823",
    "PatientBirthDate": "19510203",
}
CLOCKS = {"StudyTime": "134713", "SeriesTime": "134741", "AcquisitionTime": "134741"}
MOMENTS = re.compile(rb"20170823|2017-08-23|19510203|1347(?:13|41)|13:47|124719|12:47")


def planted(ds, _number):
    """Identifiers in all text elements, and times of the patient's life."""
    for keyword, word in WORDS.items():
        setattr(ds, keyword, word)
    for keyword, text in {**DAYS, **CLOCKS}.items():
        setattr(ds, keyword, text)
    ds.private_block(0x0013, PRIVATE_WORD[:16], create=True).add_new(0x10, "LO", PRIVATE_WORD)
    for drug in ds.get("RadiopharmaceuticalInformationSequence", ()):
        drug.RadiopharmaceuticalStartTime = "124719"
        drug.Radiopharmaceutical = WORDS["Radiopharmaceutical"]
        drug.RadionuclideCodeSequence[0].CodeMeaning = f"^18^Fluorine {WORDS['CodeMeaning']}"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / FOLDER_WORD
    write_pair(folder, planted, planted)
    for path in sorted((folder / "ct").iterdir()):
        path.rename(path.with_name(f"{FILE_WORD}{path.name}"))
    contours = [square(-18, -10, z, -26, -16) for z in (46.0, 49.0, 52.0)]
    path = rtstruct(
        folder / "rs.dcm", [RoiSpec(f"GTV {ROI_WORD}", contours)], (Recipe(description="ct").uid,), FRAME
    )
    structures = pydicom.dcmread(path)
    planted(structures, 0)
    structures.SeriesInstanceUID, structures.StudyInstanceUID = "1.2.3.4.5.6.7.8.9", STUDY
    structures.save_as(path)
    return folder


def run(images, out, free_text, suv=None):
    """All stages; the states that they left."""
    index_patient(PatientFiles("P1", images), IndexSettings(free_text=free_text), out / "index", "exclude")
    convert_patient(out / "index", out / "convert", ConvertSettings(free_text=free_text), "exclude")
    suv_patient(out / "convert", out / "suv", suv or SuvSettings(), "exclude")
    sources = ContourSources("P1", out / "index", out / "convert", out / "suv", "", images)
    contours_patient(sources, out / "contours", ContourSettings(free_text=free_text), "exclude")
    return [read_status(out / stage).state for stage in ("index", "convert", "suv", "contours")]


def leaks(out, pattern, *, also=()):
    """What of a pattern stands in files outside `index/`, and in its status, which the report gathers."""
    files = [path for path in out.rglob("*") if path.is_file() and path.parent.name != "unpacked"]
    files = [
        path for path in files if "index" not in path.relative_to(out).parts or path.name == "status.json"
    ]
    found = set()
    for path in files:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        found |= {word.decode() for word in pattern.findall(content)}
    return found | {word.decode() for text in also for word in pattern.findall(text.encode())}


def test_there_are_more_than_sixty():
    assert len(WORDS) > 200 and {
        "PatientName",
        "AccessionNumber",
        "InstitutionName",
        "PatientComments",
    } <= set(WORDS)


@pytest.mark.parametrize("free_text", ["drop", "hash"])
def test_none_leaves_the_index(images, tmp_path, caplog, free_text):
    caplog.set_level(logging.DEBUG)
    assert "excluded" not in run(images, tmp_path, free_text)
    assert leaks(tmp_path, WORD, also=(caplog.text,)) == set()
    assert leaks(tmp_path, UID, also=(caplog.text,)) == set()
    assert leaks(tmp_path, MOMENTS, also=(caplog.text,)) == set()


def test_what_is_shown_by_default_is_what_the_documentation_lists(images, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    assert "excluded" not in run(images, tmp_path, "show")
    shown = {WORDS[keyword] for keyword in SHOWN} | {WORDS["CodeMeaning"], ROI_WORD}
    assert leaks(tmp_path, WORD, also=(caplog.text,)) <= shown
    assert leaks(tmp_path, MOMENTS, also=(caplog.text,)) == set()
    assert ROI_WORD in leaks(tmp_path, WORD)  # else the test looks in the wrong place


EDITS = {
    "no weight": {"PatientWeight": ""},
    "an injection after the scan": {"InjectionLater": "1"},
    "units of a name": {"Units": "QXUNITSZEBRA"},
    "no attenuation correction": {"CorrectedImage": ["DECY"]},
    "a position that is none": {"ImagePositionPatient": ["1", "2", "1e12"]},
    "another patient": {"PatientID": "Qxotherzebra"},
    "a modality": {"Modality": "QXMODALZEBRA"},
}


@pytest.mark.parametrize("name", EDITS)
def test_no_refusal_tells_one(images, tmp_path, caplog, name):
    """Refusals name elements and rules; texts of headers are cleaned, and dropped where a study asks."""
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / FOLDER_WORD
    shutil.copytree(images, folder)
    for path in sorted((folder / "pet").iterdir()):
        ds = pydicom.dcmread(path)
        for keyword, value in EDITS[name].items():
            if keyword == "InjectionLater":
                ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "135500"
            else:
                setattr(ds, keyword, value)
        ds.save_as(path)
    out = tmp_path / "out"
    states = run(folder, out, "drop")
    assert "excluded" in states
    assert leaks(out, re.compile(rb"(?i)qx\w{3,8}zebra"), also=(caplog.text,)) == set()
    assert leaks(out, MOMENTS, also=(caplog.text,)) == set()


def test_missing_folders_and_files_are_not_named(tmp_path, caplog):
    states = run(tmp_path / FOLDER_WORD / "absent", tmp_path / "out", "show")
    assert states == ["excluded"] * 4
    assert leaks(tmp_path / "out", WORD, also=(caplog.text,)) == set()


def test_the_drafted_table_and_notes(images, tmp_path):
    draft = draft_cohort(images.parent, tmp_path / "cohort.csv")
    (tmp_path / "cohort.key.csv").rename(tmp_path / "index")  # the key file may, and the table names folders
    words = leaks(tmp_path, WORD)
    assert words <= {FOLDER_WORD}, words
    assert {word.decode() for word in WORD.findall(describe(draft, Path("c.csv")).encode())} <= {ROI_WORD}
