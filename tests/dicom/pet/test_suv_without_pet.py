"""A patient with a CT alone: the message says so, and not that a rule should run again."""

from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from tests.dicom.write_dicom import Recipe, voxels, write_series


def test_a_ct_alone(tmp_path):
    folder = write_series(tmp_path / "in", voxels(), Recipe())
    settings = IndexSettings(modalities=("ct",))
    index_patient(PatientFiles("P1", folder), settings, tmp_path / "index", "exclude")
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "exclude")
    suv_patient(tmp_path / "convert", tmp_path / "suv", SuvSettings(), "exclude")
    problem = read_status(tmp_path / "suv").problem
    assert "has no PET" in problem and "a CT alone" in problem and "run the rule" not in problem
    index_patient(PatientFiles("P1", folder), IndexSettings(), tmp_path / "index", "exclude")
    assert "there is no PET series" in read_status(tmp_path / "index").problem
