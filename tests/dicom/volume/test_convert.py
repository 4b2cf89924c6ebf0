"""Chosen series to volumes: missing slices, excluded patients, and what the outputs must not hold."""

import json

import pytest

from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError, GeometryError, MachineError
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from tests.dicom.volume.convert_helpers import CT_ONLY, convert, drop
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series


def announce(keyword, count):
    return lambda ds, _: setattr(ds, keyword, count)


def test_slices_missing_at_the_ends_are_told(tmp_path):
    folder = write_pair(tmp_path / "in", pet_edit=announce("NumberOfSlices", 11))
    index = IndexSettings()
    with pytest.raises(DicomError, match=r"2 slices are missing at the ends.*0054,0081.*convert.incomplete"):
        convert(folder, tmp_path / "a", index)
    out = convert(folder, tmp_path / "b", index, ConvertSettings(incomplete="warn"))
    assert read_status(out).state == "warned" and "11, 9 arrived" in read_status(out).problem


@pytest.mark.parametrize(("count", "state"), [(12, "ok"), (15, "warned")])
def test_images_in_acquisition_may_warn_but_never_refuse(tmp_path, count, state):
    folder = write_series(tmp_path / "in", voxels(), Recipe(), announce("ImagesInAcquisition", count))
    assert read_status(convert(folder, tmp_path)).state == state


def test_excluded_patient_passes_through(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe())
    index_patient(PatientFiles("P1", folder), IndexSettings(), tmp_path / "index", "exclude")
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "exclude")
    status = read_status(tmp_path / "convert")
    assert (status.state, status.stage) == ("excluded", "index")
    assert [p.name for p in (tmp_path / "convert").iterdir()] == ["status.json"]


def test_no_planted_identifier_in_the_outputs(tmp_path):
    out = convert(write_pair(tmp_path / "in"), tmp_path, IndexSettings())
    text = "".join(p.read_text() for p in out.glob("*.json"))
    for planted in ("PLANTED", "Planted", "19510203", "1.2.826", "2.25."):
        assert planted not in text
    content = json.loads((out / "pet.json").read_text())
    assert len(content["header"]["slices"]) == content["geometry"]["shape"][0] == 9


def test_files_that_vanished_are_told(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe())
    index_patient(PatientFiles("P1", folder), CT_ONLY, tmp_path / "index", "stop")
    drop((3,))(folder)
    with pytest.raises(MachineError, match="gone since the index"):
        convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "exclude")


def test_names_of_files_stay_out_of_messages(tmp_path):
    # Archives name files by their SOP Instance UID.
    folder = write_series(tmp_path / "in", voxels(), Recipe(), names=lambda n: f"CT.1.2.826.0.{n}.dcm")
    index_patient(PatientFiles("P1", folder), CT_ONLY, tmp_path / "index", "stop")
    (folder / "CT.1.2.826.0.4.dcm").write_bytes(b"\xff" * 300)
    with pytest.raises(DicomError) as refusal:
        convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    assert "1.2.826" not in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


def test_a_pet_beside_the_ct_in_one_frame_is_refused(tmp_path):
    def aside(ds, _):
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [float(x) + 300, y, z]

    with pytest.raises(GeometryError, match="do not overlap in space"):
        convert(write_pair(tmp_path / "in", pet_edit=aside), tmp_path, IndexSettings())
