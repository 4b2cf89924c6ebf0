"""Series that hold more than slices: captures, images sent again, one UID for all files."""

import pydicom
import pytest
from pydicom.uid import generate_uid

from pipeline.dicom.series.index_file import chosen, files_of
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import read_nifti
from tests.dicom.series.index_helpers import index
from tests.dicom.write_dicom import voxels, write_pair


def added(folder, source, edit, uid=None):
    """One more file of a series, made from another."""
    ds = pydicom.dcmread(folder / source)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid or generate_uid()
    edit(ds)
    ds.save_as(folder / f"{len(list(folder.rglob('*')))}.dcm")


def scout(ds):
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def capture(ds):
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing


@pytest.mark.parametrize(("edit", "words"), [(scout, "says LOCALIZER"), (capture, "secondary capture")])
def test_a_scout_or_a_capture_within_the_ct_series_is_left_out_and_told(tmp_path, edit, words):
    folder = write_pair(tmp_path / "in")
    added(folder, "ct/003.dcm", edit)
    series_index = index(folder, tmp_path / "index")
    ct = chosen(series_index, "ct")
    assert ct.instances == len(files_of(series_index, ct)) == 12
    problem = read_status(tmp_path / "index").problem
    assert "CT: 1 of the series' 13 files left out" in problem and words in problem
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    assert (read_nifti(tmp_path / "convert" / "ct_hu.nii.gz").array == voxels().astype(int) - 1024).all()


def test_a_series_most_of_whose_files_are_no_slices_is_rejected_with_their_number(tmp_path):
    folder = write_pair(tmp_path / "in", ct_edit=lambda ds, n: scout(ds) if n > 4 else None)
    with pytest.raises(DicomError, match=r"says LOCALIZER \(7 of 12 files\)"):
        index(folder, tmp_path / "index")


def test_images_sent_again_under_other_uids_are_called_so(tmp_path):
    folder = write_pair(tmp_path / "in")
    for path in sorted((folder / "pet").iterdir()):
        added(folder, path, lambda ds: None)
    with pytest.raises(DicomError, match="copies that were sent again"):
        index(folder, tmp_path / "index")


def test_frames_at_one_position_are_no_copies(tmp_path):
    folder = write_pair(tmp_path / "in")
    for path in sorted((folder / "pet").iterdir()):
        added(folder, path, lambda ds: setattr(ds, "AcquisitionTime", "110000"))
    with pytest.raises(DicomError, match="gated, dynamic or repeated"):
        index(folder, tmp_path / "index")


def test_one_sop_instance_uid_for_all_files_is_named(tmp_path):
    def one_uid(ds, _):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"

    folder = write_pair(tmp_path / "in", pet_edit=one_uid)
    with pytest.raises(DicomError, match=r"\(0008,0018\).*different contents.*1 slices, fewer"):
        index(folder, tmp_path / "index")


def test_a_ct_of_one_series_for_each_file_is_joined(tmp_path):
    def own_series(ds, _):
        ds.SeriesInstanceUID = generate_uid()

    series_index = index(write_pair(tmp_path / "in", ct_edit=own_series), tmp_path / "index")
    ct = chosen(series_index, "ct")
    assert ct.instances == 12 and "joined of 12 series of 1 and 1 and 1 and 1, … slices" in ct.reason
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    assert (read_nifti(tmp_path / "convert" / "ct_hu.nii.gz").array == voxels().astype(int) - 1024).all()


def test_series_that_share_a_uid_by_chance_are_not_one(tmp_path):
    """Before, the two reconstructions were merged, and refused as two stacks."""
    folder = write_pair(tmp_path / "in")
    shared = pydicom.dcmread(folder / "pet/004.dcm").SOPInstanceUID
    for number, path in enumerate(sorted((folder / "pet").iterdir())):

        def other(ds):
            ds.SeriesInstanceUID, ds.SeriesDescription, ds.RescaleSlope = "1.2.3.4", "other", "7"

        added(folder, path, other, shared if number == 4 else None)
    with pytest.raises(DicomError, match=r"hold different contents.*\(0028,1053\)"):
        index(folder, tmp_path / "index", prefer_pet=["pet"])
