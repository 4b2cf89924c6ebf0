"""What a PET's files say of attenuation, compression and weight, from the files to `suv.json`."""

import copy
import json
from dataclasses import replace

import pytest

from pipeline.dicom.header.pet_header_reading import merge_headers, slice_header
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index_file import chosen
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings, SuvSettings
from pipeline.tables.status import read_status
from tests.dicom.series.index_helpers import index, reason_of
from tests.dicom.write_dicom import Recipe, leave, plain_dataset, voxels, write_pair, write_series

PET = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="other")


def method(text, *, corrected=True):
    def edit(ds, _):
        ds.AttenuationCorrectionMethod = text
        if not corrected:
            del ds.CorrectedImage

    return edit


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("text", ["NONE", "none, ", "None"])
def test_a_pet_of_no_method_is_refused(tmp_path, text, corrected):
    folder = write_pair(tmp_path / "in", pet_edit=method(text, corrected=corrected))
    with pytest.raises(DicomError, match=r"not corrected for attenuation: \(0054,1101\)"):
        index(folder, tmp_path / "index")


@pytest.mark.parametrize("text", ["measured,AC_CT", "CTAC-SG", "measured,, 0.096000 cm-1,"])
def test_methods_of_scanners_are_taken(tmp_path, text):
    index(write_pair(tmp_path / "in", pet_edit=method(text)), tmp_path / "index")
    assert read_status(tmp_path / "index").state == "ok"


def test_of_two_pets_the_corrected_one_is_taken(tmp_path):
    folder = write_pair(tmp_path / "in", pet_edit=method("measured,AC_CT"))
    write_series(folder / "more", voxels((20, 7, 6)), PET, method("NONE"))
    made = index(folder, tmp_path / "index")
    assert chosen(made, "pet").description == "pet" and "(0054,1101)" in reason_of(made, "other")


def test_a_name_that_says_uncorrected_is_told_and_comes_last(tmp_path):
    folder = write_series(tmp_path / "in/pet", voxels((9, 7, 6)), replace(PET, description="PET WB NAC"))
    index(folder, tmp_path / "alone", modalities=("pet",))
    status = read_status(tmp_path / "alone")
    assert status.state == "warned" and "not corrected for attenuation" in status.problem
    write_series(tmp_path / "in/other", voxels((9, 7, 6)), replace(PET, description="PET WB"))
    made = index(tmp_path / "in", tmp_path / "both", modalities=("pet",))
    assert chosen(made, "pet").description == "PET WB"


def test_corrections_count_in_any_order():
    first = plain_dataset(PET, 0)
    second = copy.deepcopy(first)
    second.CorrectedImage = ["DECY", "ATTN"]
    assert merge_headers([slice_header(first), slice_header(second)]).differing == ()
    second.CorrectedImage = ["DECY"]
    assert merge_headers([slice_header(first), slice_header(second)]).differing == ("corrected_image",)


def converted(tmp_path, ct_edit=leave, pet_edit=leave):
    index(write_pair(tmp_path / "in", ct_edit, pet_edit), tmp_path / "index")
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    return tmp_path / "convert"


def test_lossy_values_are_told(tmp_path):
    status = read_status(
        converted(tmp_path, pet_edit=lambda ds, _: setattr(ds, "LossyImageCompression", "01"))
    )
    assert status.state == "warned" and "(0028,2110)" in status.problem


@pytest.mark.parametrize(("weight", "told"), [("95", True), ("70.5", False), ("0", False), ("", False)])
def test_weights_of_pet_and_ct(tmp_path, weight, told):
    convert = converted(tmp_path, ct_edit=lambda ds, _: setattr(ds, "PatientWeight", weight))
    suv_patient(convert, tmp_path / "suv", SuvSettings(), "stop")
    flags = " ".join(json.loads((tmp_path / "suv" / "suv.json").read_text())["flags"])
    assert ("95 kg in the CT" in flags) == told
