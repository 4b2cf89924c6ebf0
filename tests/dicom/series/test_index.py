"""The index of a patient: studies, frames of reference, contours, and who is refused."""

import json
from dataclasses import replace

import pytest
from pydicom.uid import generate_uid

from pipeline.dicom.series.index_file import chosen, files_of, find_chosen, of_role
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError, PatientError
from pipeline.settings.dicom import ConvertSettings
from tests.dicom.series.index_helpers import index, reason_of
from tests.dicom.write_dicom import Recipe, plain_dataset, save, voxels, write_pair, write_series

PET = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="pet")


def test_pair(tmp_path):
    series_index = index(write_pair(tmp_path / "in"), tmp_path / "index")
    pet, ct = chosen(series_index, "pet"), chosen(series_index, "ct")
    assert (pet.description, ct.description) == ("pet", "ct")
    assert pet.geometry.shape == (9, 7, 6)
    assert ct.geometry.spacing_mm == pytest.approx((3.0, 2.0, 1.5))
    assert [p.name for p in files_of(series_index, ct)] == [f"{n:03d}.dcm" for n in range(12)]
    assert find_chosen(series_index, "seg") is None
    with pytest.raises(DicomError, match="no rtstruct series"):
        chosen(series_index, "rtstruct")


def test_mixed_modalities_under_one_series(tmp_path):
    def mixed(ds, number):
        if number == 3:
            ds.Modality = "OT"

    folder = write_pair(tmp_path / "in")
    write_series(folder / "mixed", voxels((20, 7, 6)), replace(PET, description="mixed"), mixed)
    assert "several modalities" in reason_of(index(folder, tmp_path / "index"), "mixed")


def two_studies(folder):
    write_pair(folder / "one")
    later = generate_uid(entropy_srcs=["later"])
    frame = generate_uid(entropy_srcs=["later frame"])

    def edit(ds, _):
        ds.StudyDate = "20200901"

    write_series(folder / "ct2", voxels(), Recipe(description="ct2", study_uid=later, frame_uid=frame), edit)
    pet = replace(PET, description="pet2", study_uid=later, frame_uid=frame)
    write_series(folder / "pet2", voxels((9, 7, 6)), pet, edit)
    return folder


@pytest.mark.parametrize(("policy", "expected"), [("first", "pet"), ("last", "pet2")])
def test_several_studies(tmp_path, policy, expected):
    folder = two_studies(tmp_path / "in")
    assert chosen(index(folder, tmp_path / "index", several_studies=policy), "pet").description == expected


def test_several_studies_are_refused_by_default(tmp_path):
    with pytest.raises(DicomError, match="2 studies"):
        index(two_studies(tmp_path / "in"), tmp_path / "index")


def test_different_frames(tmp_path):
    folder = write_series(tmp_path / "in" / "ct", voxels(), Recipe(frame_uid=generate_uid())).parent
    write_series(folder / "pet", voxels((9, 7, 6)), PET)
    with pytest.raises(DicomError, match="frame of reference.*different_frames: register"):
        index(folder, tmp_path / "a")
    for policy, recorded in (("accept", "accepted"), ("register", "register")):
        assert index(folder, tmp_path / policy, different_frames=policy).pet_to_ct == recorded
        assert json.loads((tmp_path / policy / "status.json").read_text())["state"] == "warned"
        convert_patient(tmp_path / policy, tmp_path / "out" / policy, ConvertSettings(), "stop")
        content = json.loads((tmp_path / "out" / policy / "pet.json").read_text())
        assert content["pet_to_ct"] == recorded


def test_one_frame_is_told_from_one_image_alone(tmp_path):
    folder = write_pair(tmp_path / "in")
    assert index(folder, tmp_path / "a").pet_to_ct == "same_frame"
    assert index(folder / "pet", tmp_path / "b", modalities=("pet",)).pet_to_ct == "alone"


def test_several_patients_are_refused_without_naming_them(tmp_path):
    folder = write_pair(tmp_path / "in", pet_edit=lambda ds, n: setattr(ds, "PatientID", "SOMEONE-ELSE"))
    with pytest.raises(DicomError, match="several patients") as refusal:
        index(folder, tmp_path / "index")
    assert "SOMEONE" not in str(refusal.value)
    assert "PLANTED" not in str(refusal.value)


def test_missing_modalities(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe())
    with pytest.raises(DicomError, match="no PET series"):
        index(folder, tmp_path / "a")
    assert chosen(index(folder, tmp_path / "b", modalities=("ct",)), "ct").instances == 12
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(PatientError, match="no images"):
            index(folder, tmp_path / "c")


def structure_set(folder, recipe, references):
    ds = plain_dataset(recipe, 900)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    ds.Modality, ds.SeriesInstanceUID = "RTSTRUCT", f"{recipe.uid}.77"
    del ds.FrameOfReferenceUID
    frame, study, series = type(ds)(), type(ds)(), type(ds)()
    series.SeriesInstanceUID = references
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = recipe.frame_uid, [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    save(ds, folder / f"{recipe.description}.dcm")


def test_contours_of_the_chosen_images_are_chosen(tmp_path):
    folder = write_pair(tmp_path / "in")
    structure_set(
        folder, Recipe(description="by reference", frame_uid=generate_uid()), Recipe(description="ct").uid
    )
    structure_set(folder, Recipe(description="by frame"), "1.2.3")
    structure_set(folder, Recipe(description="stranger", frame_uid=generate_uid()), "1.2.3")
    series_index = index(folder, tmp_path / "index")
    assert {row.description for row in of_role(series_index, "rtstruct")} == {"by reference", "by frame"}
    assert "neither" in reason_of(series_index, "stranger")
