"""Tracer and uptake time: which of several PETs is taken, and what is told."""

from dataclasses import replace

import pydicom
import pytest
from pydicom.dataset import Dataset

from pipeline.dicom.series.index_file import chosen
from pipeline.tables.status import read_status
from tests.dicom.series.index_helpers import index
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series

PET = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="pet")


def at(time):
    def edit(ds, _):
        ds.SeriesTime = ds.AcquisitionTime = time

    return edit


def tracer(name, code="", nuclide=""):
    def edit(ds, _):
        (drug,) = ds.RadiopharmaceuticalInformationSequence
        if name:
            drug.Radiopharmaceutical = name
        if code:
            item = Dataset()
            item.CodeValue, item.CodeMeaning = code.split("|")
            drug.RadiopharmaceuticalCodeSequence = [item]
        if nuclide:
            drug.RadionuclideCodeSequence[0].CodeValue, drug.RadionuclideCodeSequence[0].CodeMeaning = (
                nuclide.split("|")
            )

    return edit


def problem(tmp_path):
    return read_status(tmp_path / "index").problem


@pytest.mark.parametrize(
    ("early", "late", "expected"),
    [("100000", "110000", "pet"), ("093000", "100000", "other"), ("094000", "120000", "pet")],
    ids=["60 and 120 min", "30 and 60 min", "40 and 180 min"],
)
def test_the_uptake_window_decides_between_scans_and_both_are_named(tmp_path, early, late, expected):
    folder = write_pair(tmp_path / "in", pet_edit=at(early))
    write_series(folder / "late", voxels((11, 7, 6)), replace(PET, description="other"), at(late))
    assert chosen(index(folder, tmp_path / "index"), "pet").description == expected
    told = problem(tmp_path)
    for time in (early, late):
        minutes = (int(time[:2]) - 9) * 60 + int(time[2:4])
        assert f"{minutes} min" in told
    assert "index.uptake_minutes" in told and "index.prefer_pet" in told


def test_another_window_and_a_pattern(tmp_path):
    folder = write_pair(tmp_path / "in")
    write_series(folder / "late", voxels((9, 7, 6)), replace(PET, description="late"), at("110000"))
    assert chosen(index(folder, tmp_path / "index", uptake_minutes=(100, 140)), "pet").description == "late"
    index(folder, tmp_path / "index", prefer_pet=("late",))
    assert read_status(tmp_path / "index").state == "ok"


def test_reconstructions_of_one_scan_are_no_second_scan(tmp_path):
    folder = write_pair(tmp_path / "in")
    write_series(folder / "fine", voxels((12, 7, 6)), replace(PET, description="fine"), at("100200"))
    assert chosen(index(folder, tmp_path / "index"), "pet").description == "fine"
    assert "after injection" not in problem(tmp_path)


@pytest.mark.parametrize(
    ("edit", "fdg"),
    [
        (tracer("FDG -- fluorodeoxyglucose"), True),
        (tracer("Fluorodesoxyglukose", "35321007|Fluorodeoxyglucose F^18^"), True),
        (tracer("", "C-B1031|FDG"), True),
        (tracer("Solution"), True),
        (tracer("F-18"), True),
        (tracer(""), True),
        (tracer("PSMA-1007"), False),
        (tracer("FDGal"), False),
        (tracer("DOTATATE", nuclide="C-131A3|^68^Gallium"), False),
        (tracer("", nuclide="C-131A3|^68^Gallium"), False),
    ],
)
def test_another_tracer_than_fdg_is_told(tmp_path, edit, fdg):
    folder = write_pair(tmp_path / "in", pet_edit=edit)
    index(folder, tmp_path / "index")
    assert ("expects FDG" in problem(tmp_path)) is not fdg
    index(folder, tmp_path / "index", expected_tracer="any")
    assert read_status(tmp_path / "index").state == "ok"


def test_of_two_tracers_fdg_is_taken_and_both_are_named(tmp_path):
    folder = write_pair(tmp_path / "in", pet_edit=tracer("FDG"))
    more = voxels((12, 7, 6))
    write_series(folder / "psma", more, replace(PET, description="psma"), tracer("PSMA-1007"))
    assert chosen(index(folder, tmp_path / "index"), "pet").description == "pet"
    assert "'FDG' was taken, not 'PSMA-1007'" in problem(tmp_path)


@pytest.mark.parametrize(
    "description",
    ["PET WB w/o AC", "WB uncorr", "WB NAC", "PET no AC", "WB non-AC", "WB_noCTAC", "PET ohne Schwächungskorr",
     "unkorrigiert", "NOT CORRECTED", "WB WITHOUT ATTEN", "WO_AC", "WB ohne SK", "nicht schwächungskorrigiert",
     "sans correction", "PET AC off", "non corretto", "WB o. SK", "okorrigerad"],
)  # fmt: skip
def test_words_for_no_attenuation_correction_count_where_no_tag_says(tmp_path, description):
    def edit(ds, _):
        del ds.CorrectedImage
        ds.SpecificCharacterSet = "ISO_IR 100"

    folder = write_pair(tmp_path / "in", pet_edit=edit)
    write_series(folder / "nac", voxels((12, 7, 6)), replace(PET, description=description), edit)
    assert chosen(index(folder, tmp_path / "index"), "pet").description == "pet"


@pytest.mark.parametrize(
    "description",
    [
        "PET AC",
        "WB CTAC 4mm",
        "Nacken PET",
        "PET corrected",
        "Snack",
        "WB SK ohne KM",
        "PET o.k.",
        "WB no coronals",
    ],
)
def test_other_words_do_not(tmp_path, description):
    def edit(ds, _):
        del ds.CorrectedImage

    folder = write_pair(tmp_path / "in", pet_edit=edit)
    write_series(folder / "more", voxels((12, 7, 6)), replace(PET, description=description), edit)
    assert chosen(index(folder, tmp_path / "index"), "pet").description == description


def test_a_pet_whose_headers_break_further_on_still_has_an_index(tmp_path):
    folder = write_pair(tmp_path / "in")
    for path in (folder / "pet").iterdir():
        ds = pydicom.dcmread(path)
        del ds.RadiopharmaceuticalInformationSequence
        ds.save_as(path)
    assert chosen(index(folder, tmp_path / "index"), "pet").instances == 9
