"""Several acquisitions in one series are refused or parted; one acquisition in several series is joined."""

from dataclasses import replace

import numpy as np
import pydicom
import pytest

from pipeline.dicom.series.index_file import chosen, files_of
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import read_nifti
from tests.dicom.series.index_helpers import index
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series

PET = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="pet")


def with_pet(folder, edit, values=None):
    """A CT and one PET series whose slices `edit` changes."""
    write_series(folder / "ct", voxels((18, 10, 8)), Recipe(description="ct"))
    write_series(folder / "pet", voxels((18, 7, 6), seed=4) if values is None else values, PET, edit)
    return folder


def interleaved(ds, number):
    ds.AcquisitionTime = "100000" if number % 2 else "110000"


def same_places(ds, number):
    interleaved(ds, number)
    ds.ImagePositionPatient = PET.position(number // 2)


def test_two_scans_shifted_by_half_a_slice_are_no_volume(tmp_path):
    folder = with_pet(tmp_path / "in", interleaved)
    with pytest.raises(DicomError, match="over one another: 9 slices, 9 slices 60 min later"):
        index(folder, tmp_path / "index")


@pytest.mark.parametrize("edit", [interleaved, same_places])
@pytest.mark.parametrize(("which", "remainder"), [("first", 1), ("last", 0)])
def test_one_of_two_scans_where_a_setting_says_which(tmp_path, edit, which, remainder):
    folder = with_pet(tmp_path / "in", edit)
    series_index = index(folder, tmp_path / "index", several_acquisitions=which)
    assert f"the {which} of 2 acquisitions" in read_status(tmp_path / "index").problem
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    pet = read_nifti(tmp_path / "convert" / "pet_stored.nii.gz").array
    np.testing.assert_allclose(pet, voxels((18, 7, 6), seed=4)[remainder::2] * 2.5, rtol=1e-6)
    assert chosen(series_index, "pet").instances == 9


def late_legs(first_reference_ms):
    """The lower half an hour later; reference times from one start, or from each part's own."""

    def edit(ds, number):
        late = number < 9
        ds.AcquisitionTime = "110000" if late else "100000"
        ds.FrameReferenceTime = str(60000 + (first_reference_ms if late else 0))

    return edit


def test_parts_side_by_side_corrected_each_to_its_own_start_are_refused(tmp_path):
    with pytest.raises(DicomError, match="side by side: 9 slices, 9 slices 60 min later"):
        index(with_pet(tmp_path / "in", late_legs(0)), tmp_path / "index")


def test_parts_side_by_side_corrected_to_one_start_are_one_scan(tmp_path):
    series_index = index(with_pet(tmp_path / "in", late_legs(3_600_000)), tmp_path / "index")
    assert chosen(series_index, "pet").instances == 18


@pytest.mark.parametrize("date", ["20200310", "20200311", ""])
def test_beds_and_continuous_motion_across_midnight_are_one_scan(tmp_path, date):
    def beds(ds, number):
        minutes = 23 * 60 + 50 + 2 * (17 - number)
        ds.AcquisitionTime = f"{minutes // 60 % 24:02d}{minutes % 60:02d}00"
        if minutes >= 24 * 60:
            ds.AcquisitionDate = date
        if not date:
            del ds.AcquisitionDate

    assert chosen(index(with_pet(tmp_path / "in", beds), tmp_path / "index"), "pet").instances == 18


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda ds, n: setattr(ds, "NumberOfSlices", 9), r"2 stacks in one series: 18 slices"),
        (
            lambda ds, n: setattr(ds, "CorrectedImage", ["ATTN", "DECY", "SCAT"][: 3 - n % 2]),
            r"\(0028,0051\) Corrected Image alternates",
        ),
        (lambda ds, n: setattr(ds, "SeriesTime", f"10{n % 2}000"), r"Series Time alternates"),
        (lambda ds, n: setattr(ds, "FrameOfReferenceUID", f"1.2.{n % 2}"), "2 .*Frame of Reference UIDs"),
    ],
)
def test_two_stacks_in_one_series_are_refused(tmp_path, edit, words):
    with pytest.raises(DicomError, match=words):
        index(with_pet(tmp_path / "in", edit), tmp_path / "index")


def alternating(keyword, first, second, beds=1):
    """Every second slice another value, each value in steps from bed to bed."""

    def edit(ds, number):
        stack, bed = number % 2, (number // 2) * beds // 9
        setattr(ds, keyword, (first, second)[stack](bed))

    return edit


INTERLEAVED = {
    "a scan 15 min later": alternating("AcquisitionTime", lambda b: "100000", lambda b: "101500"),
    "beds that run on": alternating(
        "AcquisitionTime", lambda b: f"10{3 * b:02d}00", lambda b: f"10{9 + 3 * b:02d}00", beds=3
    ),
    "two frames of a dynamic scan": alternating("FrameReferenceTime", lambda b: "60000", lambda b: "180000"),
    "frames of two durations": alternating("ActualFrameDuration", lambda b: "120000", lambda b: "180000"),
    "two decay factors": alternating("DecayFactor", lambda b: "1.0063", lambda b: "1.0192"),
    "one corrected, one not": alternating("DecayCorrection", lambda b: "START", lambda b: "NONE"),
    "two stacks numbered apart": lambda ds, n: setattr(ds, "InstanceNumber", n // 2 + 1 + 9 * (n % 2)),
    "three stacks numbered apart": lambda ds, n: setattr(ds, "InstanceNumber", n // 3 + 1 + 6 * (n % 3)),
    "two stacks numbered alike": lambda ds, n: setattr(ds, "InstanceNumber", n // 2 + 1),
}


@pytest.mark.parametrize("name", INTERLEAVED)
def test_two_scans_frames_or_reconstructions_shifted_by_half_a_slice_are_refused(tmp_path, name):
    with pytest.raises(DicomError, match="two stacks in one series.* alternates from slice to slice"):
        index(with_pet(tmp_path / "in", INTERLEAVED[name]), tmp_path / "index")


ONE_SCAN = {
    "slopes of every slice, alternating": lambda ds, n: setattr(ds, "RescaleSlope", 2.5 if n % 2 else 2.0),
    "beds of their own times, durations and factors": lambda ds, n: (
        setattr(ds, "AcquisitionTime", f"10{3 * (n // 6):02d}00"),
        setattr(ds, "FrameReferenceTime", str(60000 + 180000 * (n // 6))),
        setattr(ds, "ActualFrameDuration", str((120000, 180000, 120000)[n // 6])),
        setattr(ds, "DecayFactor", str((1.0063, 1.0253, 1.0446)[n // 6])),
    ),
    "a time for every slice, as the bed moves": lambda ds, n: (
        setattr(ds, "AcquisitionTime", f"1000{n:02d}.5"),
        setattr(ds, "FrameReferenceTime", str(60000 + 1013 * n)),
        setattr(ds, "ActualFrameDuration", str(74324 + 676 * (7 * n * n % 11))),
    ),
    "numbered from the other end": lambda ds, n: setattr(ds, "InstanceNumber", 18 - n),
    "not numbered": lambda ds, n: delattr(ds, "InstanceNumber"),
}


@pytest.mark.parametrize("name", ONE_SCAN)
def test_slices_that_differ_in_one_scan_are_not_refused(tmp_path, name):
    folder = with_pet(tmp_path / "in", ONE_SCAN[name])
    assert chosen(index(folder, tmp_path / "index"), "pet").instances == 18


def two_reconstructions():
    """A smooth body, in every second slice half as active."""
    values = np.round(800 + 400 * np.cos(np.arange(18) / 6)[:, None, None] + np.arange(42).reshape(1, 7, 6))
    values[::2] //= 2
    return values.astype(np.uint16)


def test_two_reconstructions_that_only_their_values_tell_apart_are_refused_unless_asked_for(tmp_path):
    index(with_pet(tmp_path / "in", lambda ds, n: None, two_reconstructions()), tmp_path / "index")
    with pytest.raises(
        DicomError, match=r"two scans or reconstructions in one series.*alternating_slices: warn"
    ):
        convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    settings = ConvertSettings(alternating_slices="warn")
    convert_patient(tmp_path / "index", tmp_path / "convert", settings, "stop")
    assert "two scans or reconstructions" in read_status(tmp_path / "convert").problem


def test_slopes_that_undo_each_others_values_make_one_scan(tmp_path):
    # Stored values halve in every second slice, and its slope doubles: one smooth body.
    def edit(ds, number):
        ds.RescaleSlope = 2.5 if number % 2 else 5.0

    index(with_pet(tmp_path / "in", edit, two_reconstructions()), tmp_path / "index")
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    assert read_status(tmp_path / "convert").state == "ok"


def in_two_series(folder, edit=lambda ds, n: None):
    """The pair whose PET was exported as series of 11 and 7 slices, each shorter than the CT."""
    with_pet(folder, lambda ds, n: None)
    second = replace(PET, description="pet b")
    for number, path in enumerate(sorted((folder / "pet").iterdir())):
        if number >= 11:
            ds = pydicom.dcmread(path)
            ds.SeriesInstanceUID, ds.SeriesDescription = second.uid, second.description
            edit(ds, number)
            ds.save_as(path)
    return folder


def test_one_pet_exported_as_two_series_is_joined(tmp_path):
    series_index = index(in_two_series(tmp_path / "in"), tmp_path / "index")
    pet = chosen(series_index, "pet")
    assert pet.instances == 18 and "joined of 2 series" in pet.reason
    assert len(files_of(series_index, pet)) == 18
    (other,) = [row for row in series_index.series if row.description == "pet b"]
    assert "they are joined" in other.reason and not other.chosen
    assert "joined of 2 series" in read_status(tmp_path / "index").problem
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    pet = read_nifti(tmp_path / "convert" / "pet_stored.nii.gz").array
    np.testing.assert_allclose(pet, voxels((18, 7, 6), seed=4) * 2.5, rtol=1e-6)


@pytest.mark.parametrize(
    "edit",
    [
        lambda ds, n: setattr(ds, "SeriesTime", "103000"),
        lambda ds, n: setattr(ds, "Units", "CNTS"),
        lambda ds, n: setattr(ds, "ImagePositionPatient", PET.position(n + 1)),
        lambda ds, n: setattr(ds, "ImagePositionPatient", PET.position(n - 2)),
    ],
    ids=["another time", "other units", "a gap", "an overlap"],
)
def test_parts_that_do_not_fit_are_told_by_the_length_they_cover(tmp_path, edit):
    series_index = index(in_two_series(tmp_path / "in", edit), tmp_path / "index", min_pet_coverage=0.9)
    assert chosen(series_index, "pet").instances == 11
    assert "of the length of the CT" in read_status(tmp_path / "index").problem


def test_a_pet_as_long_as_the_ct_is_not_told(tmp_path):
    index(write_pair(tmp_path / "in"), tmp_path / "index")
    assert read_status(tmp_path / "index").state == "ok"


@pytest.mark.parametrize("shared_time", [False, True], ids=["times of their own", "offsets in (0054,1300)"])
def test_beds_side_by_side_whose_number_of_slices_counts_one_bed_are_one_scan(tmp_path, shared_time):
    def beds(ds, number):
        ds.NumberOfSlices, bed = 9, number // 9
        ds.FrameReferenceTime = str(60000 + 180000 * bed)
        ds.AcquisitionTime = "100000" if shared_time else f"10{3 * bed:02d}00"

    assert chosen(index(with_pet(tmp_path / "in", beds), tmp_path / "index"), "pet").instances == 18
