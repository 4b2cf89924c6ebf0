"""PET and CT of several dates under one study and frame of reference: of one date, or refused, or told."""

import json
from dataclasses import replace

import pytest

from pipeline.dicom.series.index_file import chosen
from pipeline.errors import DicomError
from tests.dicom.series.index_helpers import index, reason_of
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series

PET = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="follow-up pet")
CT = Recipe(spacing=(1.5, 2.0, 1.5), description="follow-up ct")


def dated(date, time=""):
    """An edit that gives all dates, and times where one is named; the pair as written is of 10 March 2020."""

    def edit(ds, _):
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = date
        if time:
            ds.SeriesTime = ds.AcquisitionTime = time

    return edit


def follow_up(folder, pet=True, ct=True, date="20200620"):
    """The pair of March, and longer and finer images of June in the same study and frame."""
    write_pair(folder)
    if ct:
        write_series(folder / "ct2", voxels((24, 10, 8)), CT, dated(date))
    if pet:
        write_series(folder / "pet2", voxels((11, 7, 6)), PET, dated(date))
    return folder


@pytest.mark.parametrize("which", ["pet", "ct"])
def test_a_finer_image_of_another_date_is_not_taken(tmp_path, which):
    folder = follow_up(tmp_path / "in", pet=which == "pet", ct=which == "ct")
    found = index(folder, tmp_path / "index")
    assert [chosen(found, role).description for role in ("pet", "ct")] == ["pet", "ct"]
    assert reason_of(found, f"follow-up {which}") == "another date was chosen"


def test_two_dates_in_one_study_are_two_examinations(tmp_path):
    folder = follow_up(tmp_path / "in")
    with pytest.raises(DicomError, match="images of several dates.*2 examinations.*several_studies"):
        index(folder, tmp_path / "index")
    for policy, prefix in (("first", ""), ("last", "follow-up ")):
        found = index(folder, tmp_path / policy, several_studies=policy)
        assert [chosen(found, role).description for role in ("pet", "ct")] == [
            f"{prefix}pet",
            f"{prefix}ct",
        ]


def test_dates_of_several_studies_that_hold_one_modality_each(tmp_path):
    folder = write_pair(tmp_path / "in", ct_edit=lambda ds, n: setattr(ds, "StudyInstanceUID", "1.2.3"))
    write_series(folder / "ct2", voxels((24, 10, 8)), replace(CT, study_uid="1.2.4"), dated("20200620"))
    assert chosen(index(folder, tmp_path / "index"), "ct").description == "ct"


def warnings_of(tmp_path, ct_edit, **settings):
    index(write_pair(tmp_path / "in", ct_edit), tmp_path / "index", **settings)
    return json.loads((tmp_path / "index" / "status.json").read_text())["problem"]


def test_a_pet_with_a_ct_of_another_date_only_is_refused_unless_accepted(tmp_path):
    with pytest.raises(DicomError, match=r"not of one date.*got: 102 days.*different_dates: accept"):
        warnings_of(tmp_path, dated("20200620"))
    told = warnings_of(tmp_path / "told", dated("20200620"), different_dates="accept")
    assert "102 days apart" in str(told)


@pytest.mark.parametrize(
    ("date", "time", "told"),
    [
        ("20200310", "100000", ""),
        ("20200309", "235800", ""),
        ("20200309", "100000", "24 hours apart"),
        ("", "", "dates are missing"),
    ],
    ids=["one date", "before midnight", "the day before", "blank"],
)
def test_midnight_is_no_other_date_and_missing_dates_are_told(tmp_path, date, time, told):
    found = warnings_of(tmp_path, dated(date, time))
    assert (told in str(found)) if told else not found


def test_dates_that_only_one_element_lost_or_shifted(tmp_path):
    """Acquisition dates agree: series and study dates may be those of a later reconstruction."""

    def edit(ds, _):
        ds.StudyDate = ds.SeriesDate = "20200620"

    assert warnings_of(tmp_path, edit) == ""
