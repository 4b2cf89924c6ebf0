"""Which series are chosen as PET and CT, on folders written for each rule."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from pydicom.uid import generate_uid

from pipeline.dicom.series.index_file import chosen
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings
from pipeline.volumes.nifti import read_nifti
from tests.dicom.series.index_helpers import index, reason_of
from tests.dicom.write_dicom import Recipe, plain_dataset, save, set_pixels, voxels, write_pair, write_series

PET = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="pet")


def uncorrected(ds, _):
    ds.CorrectedImage = ["NORM", "DECY"]


def localizer(ds, _):
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def gated(ds, _):
    ds.SeriesType = ["GATED", "IMAGE"]


def secondary(ds, _):
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (uncorrected, "attenuation"),
        (gated, "gated"),
        (secondary, "not a volume"),
        (lambda ds, n: setattr(ds, "ImageType", ["DERIVED", "SECONDARY", "MIP"]), "MIP"),
        (lambda ds, n: delattr(ds, "ImagePositionPatient"), "usable position"),
    ],
    ids=["not corrected", "gated", "secondary capture", "projection", "no positions"],
)
def test_other_pets_lose(tmp_path, edit, words):
    folder = write_pair(tmp_path / "in")
    more = voxels((20, 7, 6))  # more slices than the good one: only the reason keeps it out
    write_series(folder / "more", more, replace(PET, description="other"), edit)
    assert words in reason_of(index(folder, tmp_path / "index"), "other")


def test_uncorrected_by_its_name_where_no_tag_says(tmp_path):
    def edit(ds, _):
        del ds.CorrectedImage

    folder = write_pair(tmp_path / "in", pet_edit=edit)
    write_series(folder / "nac", voxels((20, 7, 6)), replace(PET, description="WB NAC 4mm"), edit)
    assert "by its" in reason_of(index(folder, tmp_path / "index"), "WB NAC 4mm")


def test_only_an_uncorrected_pet_is_refused(tmp_path):
    with pytest.raises(DicomError, match="not corrected for attenuation"):
        index(write_pair(tmp_path / "in", pet_edit=uncorrected), tmp_path / "index")


def test_scouts_and_short_series_lose(tmp_path):
    folder = write_pair(tmp_path / "in")
    write_series(folder / "scout", voxels((30, 10, 8)), Recipe(description="scout"), localizer)
    write_series(folder / "short", voxels((3, 10, 8)), Recipe(description="short"))
    series_index = index(folder, tmp_path / "index")
    assert "LOCALIZER" in reason_of(series_index, "scout")
    assert "3 slices" in reason_of(series_index, "short")


def test_dynamic_without_a_tag_loses(tmp_path):
    def in_place(ds, number):
        ds.ImagePositionPatient = [0, 0, 4.0 * (number % 10)]

    folder = write_pair(tmp_path / "in")
    write_series(folder / "dynamic", voxels((40, 7, 6)), replace(PET, description="dynamic"), in_place)
    assert "one position" in reason_of(index(folder, tmp_path / "index"), "dynamic")


def test_patterns_come_before_all_rules(tmp_path):
    folder = write_pair(tmp_path / "in")
    write_series(folder / "more", voxels((20, 7, 6)), replace(PET, description="PET WB OSEM"))
    assert chosen(index(folder, tmp_path / "a"), "pet").description == "PET WB OSEM"
    assert chosen(index(folder, tmp_path / "b", prefer_pet=("Pe?",)), "pet").description == "pet"


def test_soft_kernel_before_a_sharp_one_and_frame_before_slices(tmp_path):
    folder = write_pair(tmp_path / "in", ct_edit=lambda ds, n: setattr(ds, "ConvolutionKernel", "B30f"))
    sharp = Recipe(description="lung")
    write_series(
        folder / "lung", voxels((12, 10, 8)), sharp, lambda ds, n: setattr(ds, "ConvolutionKernel", "B70f")
    )
    other = Recipe(description="diagnostic", frame_uid=generate_uid())
    write_series(folder / "diagnostic", voxels((30, 10, 8)), other)
    assert chosen(index(folder, tmp_path / "index"), "ct").description == "ct"


def test_ct_that_covers_the_pet_comes_first(tmp_path):
    folder = write_pair(tmp_path / "in")
    neck = Recipe(description="thin neck", spacing=(0.5, 1.0, 1.0), origin=(0, 0, 60.0))
    write_series(folder / "neck", voxels((25, 10, 8)), neck)
    assert chosen(index(folder, tmp_path / "index"), "ct").description == "ct"


def test_choice_does_not_depend_on_file_names(tmp_path):
    folder = write_pair(tmp_path / "in")
    write_series(folder / "zz", voxels((9, 7, 6)), replace(PET, description="twin"))
    first = chosen(index(folder, tmp_path / "a"), "pet").series_uid
    shutil.move(folder / "zz", folder / "aa")
    assert chosen(index(folder, tmp_path / "b"), "pet").series_uid == first


def test_second_time_point_of_a_study(tmp_path):
    def delayed(ds, _):
        ds.SeriesTime = ds.AcquisitionTime = "110000"

    folder = write_pair(tmp_path / "in")
    write_series(folder / "a delayed", voxels((9, 7, 6)), replace(PET, description="a delayed"), delayed)
    assert chosen(index(folder, tmp_path / "a"), "pet").description == "pet"
    status = json.loads((tmp_path / "a" / "status.json").read_text())
    assert (status["state"], "prefer_pet" in status["problem"]) == ("warned", True)
    late = index(folder, tmp_path / "b", prefer_pet=("*delayed*",))
    assert chosen(late, "pet").description == "a delayed"
    assert json.loads((tmp_path / "b" / "status.json").read_text())["state"] == "ok"


def dynamic(folder):
    """Three frames at each of nine positions, in one series; frame n holds voxels of seed n."""
    write_series(folder / "ct", voxels(), Recipe(description="ct"))
    for frame, names in enumerate(("c", "a", "b")):

        def edit(ds, number, frame=frame):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.{frame}"
            ds.SeriesType = ["DYNAMIC", "IMAGE"]
            ds.AcquisitionTime = f"1{frame}0000"

        write_series(
            folder / f"pet {names}", voxels((9, 7, 6), seed=frame), replace(PET, description="dyn"), edit
        )
    return folder


def test_dynamic_series_are_refused_unless_a_frame_is_asked_for(tmp_path):
    folder = dynamic(tmp_path / "in")
    with pytest.raises(DicomError, match="dynamic or repeated"):
        index(folder, tmp_path / "a")
    for which, seed in (("first", 0), ("last", 2)):
        series_index = index(folder, tmp_path / which, repeated_frames=which)
        assert f"the {which} of 3 images" in chosen(series_index, "pet").reason
        assert json.loads((tmp_path / which / "status.json").read_text())["state"] == "warned"
        convert_patient(tmp_path / which, tmp_path / "out" / which, ConvertSettings(), "stop")
        pet = read_nifti(tmp_path / "out" / which / "pet_stored.nii.gz").array
        np.testing.assert_allclose(pet, voxels((9, 7, 6), seed=seed) * 2.5, rtol=1e-6)


def test_a_position_that_lacks_a_frame_stays_refused(tmp_path):
    folder = dynamic(tmp_path / "in")
    (folder / "pet a" / "004.dcm").unlink()
    with pytest.raises(DicomError, match="dynamic or repeated"):
        index(folder, tmp_path / "a", repeated_frames="last")


def test_enhanced_ct_and_pet_by_their_frames(tmp_path):
    # A multi-frame file without functional groups has no planes that can be placed.
    folder = write_pair(tmp_path / "in")
    ds = plain_dataset(Recipe("ECT", description="enhanced"), 0)
    set_pixels(ds, np.zeros((20, 10, 8), np.uint16))
    save(ds, folder / "enhanced.dcm")
    assert reason_of(index(folder, tmp_path / "index"), "enhanced")
