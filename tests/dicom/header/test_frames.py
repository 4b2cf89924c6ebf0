"""Enhanced multi-frame CT and PET: geometry, values, units and decay of functional groups."""

import json

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.pet.factor import suv_factor
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError, SuvError
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import read_nifti
from tests.dicom.write_dicom import Recipe, plain_dataset, save, set_pixels, voxels

ORDER = [3, 0, 7, 5, 1, 9, 2, 8, 6, 4]
PET = Recipe("EPT", (4.0, 4.0, 4.0), slope=0.5, intercept=0.0, description="pet")
CT = Recipe("ECT", (3.0, 1.0, 1.0), description="ct")


def item(**values):
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def enhanced(path, values, recipe, units=""):
    """One file whose frames are out of order; orientation and spacing shared, position per frame."""
    ds = plain_dataset(recipe, 0)
    set_pixels(ds, values[ORDER])
    row, column = recipe.orientation[:3], recipe.orientation[3:]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[*row, *column])],
        PixelMeasuresSequence=[item(PixelSpacing=list(recipe.spacing[1:]), SliceThickness=recipe.spacing[0])],
        PixelValueTransformationSequence=[
            item(
                RescaleSlope=str(recipe.slope),
                RescaleIntercept=str(recipe.intercept),
                RescaleType="HU" if recipe.modality[-2:] == "CT" else "US",
            )
        ],
    )
    if units:
        code = item(CodeValue=units, CodingSchemeDesignator="UCUM", CodeMeaning=units)
        mapping = item(RealWorldValueSlope=1.5, RealWorldValueIntercept=0.0)
        mapping.MeasurementUnitsCodeSequence = [code]
        shared.RealWorldValueMappingSequence = [mapping]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=recipe.position(number))],
            FrameContentSequence=[
                item(FrameAcquisitionDateTime=f"2020031010{number:02d}00", FrameAcquisitionDuration=12e4)
            ],
        )
        for number in ORDER
    ]
    if recipe.modality == "EPT":
        decay_flags(ds)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(ds, path)


def decay_flags(ds):
    for keyword in (
        "Units",
        "DecayCorrection",
        "CorrectedImage",
        "FrameReferenceTime",
        "ActualFrameDuration",
    ):
        del ds[keyword]
    ds.SeriesTime = "120000"
    ds.DecayCorrected, ds.AttenuationCorrected = "YES", "YES"
    ds.DecayCorrectionDateTime = "20200310100000"


def pair(folder, units="Bq/ml"):
    enhanced(folder / "ct.dcm", voxels((10, 8, 7)), CT)
    enhanced(folder / "pet.dcm", voxels((10, 6, 5), seed=4), PET, units)
    return folder


def run(folder, out):
    index_patient(PatientFiles("P1", folder), IndexSettings(), out / "index", "stop")
    convert_patient(out / "index", out / "convert", ConvertSettings(), "stop")
    suv_patient(out / "convert", out / "suv", SuvSettings(), "stop")


def test_frames_become_volumes(tmp_path):
    run(pair(tmp_path / "in"), tmp_path)
    ct = read_nifti(tmp_path / "convert" / "ct_hu.nii.gz")
    assert np.array_equal(ct.array, voxels((10, 8, 7)).astype(int) - 1024)
    np.testing.assert_allclose(ct.grid.points([9, 0, 0])[0], CT.position(9), atol=1e-3)
    # The real world value map (1.5 Bq/mL) goes before the transformation (0.5, of no unit).
    pet = read_nifti(tmp_path / "convert" / "pet_stored.nii.gz")
    np.testing.assert_allclose(pet.array, voxels((10, 6, 5), seed=4) * 1.5, rtol=1e-6)


def test_suv_of_decay_corrected_frames(tmp_path):
    run(pair(tmp_path / "in"), tmp_path)
    account = json.loads((tmp_path / "suv" / "suv.json").read_text())
    # 70000 / 350e6 * 2 ** (3600 / 6586.2): dose at 09:00, decay corrected to 10:00.
    assert account["factor"] == pytest.approx(2.92127349244366e-4, rel=1e-9)
    times = [entry["acquisition_time"] for entry in account["slice_times"]]
    assert times == [f"10{n:02d}00" for n in range(10)]  # in the order of the volume


def test_stored_suv(tmp_path):
    # The random values of these frames, up to 4483, are no patient's SUV; the headers' factor is asked for.
    with pytest.raises(SuvError, match="cannot be SUV"):
        run(pair(tmp_path / "in", "{SUVbw}g/ml"), tmp_path)
    header = PetHeader.from_json(json.loads((tmp_path / "convert" / "pet.json").read_text())["header"])
    assert suv_factor(header, SuvSettings()).factors == (1.0,)


def mapping(first, last, slope, unit, intercept=0.0):
    code = item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)
    values = item(
        RealWorldValueFirstValueMapped=first,
        RealWorldValueLastValueMapped=last,
        RealWorldValueSlope=slope,
        RealWorldValueIntercept=intercept,
    )
    values.MeasurementUnitsCodeSequence = [code]
    return values


def mapped(folder, *maps):
    """The pair with these maps; stored values are 0 to 2999."""
    ds = pydicom.dcmread(pair(folder) / "pet.dcm")
    ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence = list(maps)
    save(ds, folder / "pet.dcm")
    return folder


@pytest.mark.parametrize(
    ("late", "refused"),
    [(lambda number: number % 2, True), (lambda number: number > 4, False), (lambda number: False, False)],
    ids=["interleaved", "side by side", "one scan"],
)
def test_frames_of_two_scans_are_no_volume(tmp_path, late, refused):
    folder = pair(tmp_path / "in")
    ds = pydicom.dcmread(folder / "pet.dcm")
    for number, group in zip(ORDER, ds.PerFrameFunctionalGroupsSequence, strict=True):
        time = f"202003101{int(bool(late(number)))}{number:02d}00"
        group.FrameContentSequence[0].FrameAcquisitionDateTime = time
    save(ds, folder / "pet.dcm")
    if not refused:
        run(folder, tmp_path)
        return
    with pytest.raises(DicomError, match="over one another: 5 slices, 5 slices 61 min later"):
        run(folder, tmp_path)


def test_maps_of_one_unit_hold_each_in_its_range(tmp_path):
    maps = mapping(0, 1000, 1.5, "Bq/ml"), mapping(1001, 3000, 3.0, "Bq/ml", -1500.0)
    run(mapped(tmp_path / "in", *maps), tmp_path)
    stored = voxels((10, 6, 5), seed=4).astype(float)
    truth = np.where(stored <= 1000, stored * 1.5, stored * 3.0 - 1500.0)
    pet = read_nifti(tmp_path / "convert" / "pet_stored.nii.gz").array
    np.testing.assert_allclose(pet, truth, rtol=1e-6)


@pytest.mark.parametrize(
    "maps",
    [
        [mapping(0, 1000, 1.5, "Bq/ml")],
        [mapping(500, 3000, 1.5, "Bq/ml")],
        [mapping(0, 1000, 1.5, "Bq/ml"), mapping(1500, 3000, 1.5, "Bq/ml")],
        [mapping(0, 2000, 1.5, "Bq/ml"), mapping(1000, 3000, 3.0, "Bq/ml")],
        [mapping(0, 1000, 1.5, "Bq/ml"), mapping(1001, 3000, 0.75, "Bq/ml")],
    ],
    ids=["the upper part", "the lower part", "a gap", "two meanings", "a jump"],
)
def test_maps_that_do_not_give_each_value_one_meaning_are_refused(tmp_path, maps):
    with pytest.raises(DicomError, match="one meaning.*ranges"):
        run(mapped(tmp_path / "in", *maps), tmp_path)


@pytest.mark.parametrize(
    "maps",
    [
        [mapping(0, 3000, 9.0, "{SUVlbm}g/ml"), mapping(0, 3000, 1.5, "Bq/ml")],
        [mapping(0, 3000, 9.0, "{SUVbsa}cm2/ml"), mapping(0, 3000, 1.5, "Bq/ml")],
        [mapping(0, 3000, 9.0, "{SUVbw}g/ml"), mapping(0, 3000, 1.5, "Bq/ml")],
        [mapping(0, 3000, 1.5e-3, "kBq/ml")],
    ],
    ids=["SUVlbm first", "SUVbsa first", "SUVbw first", "kBq/mL"],
)
def test_activity_is_taken_of_several_units(tmp_path, maps):
    run(mapped(tmp_path / "in", *maps), tmp_path)
    pet = read_nifti(tmp_path / "convert" / "pet_stored.nii.gz").array
    np.testing.assert_allclose(pet, voxels((10, 6, 5), seed=4) * 1.5, rtol=1e-6)
    account = json.loads((tmp_path / "suv" / "suv.json").read_text())
    assert account["factor"] == pytest.approx(2.92127349244366e-4, rel=1e-9)


@pytest.mark.parametrize(("dose", "state"), [("350", "ok"), ("350000000", "warned")])
def test_the_dose_of_an_enhanced_pet_is_in_mbq(tmp_path, dose, state):
    folder = pair(tmp_path / "in")
    ds = pydicom.dcmread(folder / "pet.dcm")
    ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = dose
    save(ds, folder / "pet.dcm")
    run(folder, tmp_path)
    account = json.loads((tmp_path / "suv" / "suv.json").read_text())
    assert account["factor"] == pytest.approx(2.92127349244366e-4, rel=1e-9)
    status = read_status(tmp_path / "convert")
    assert status.state == state and ("PS3.3 C.8.22.4" in status.problem) == (state == "warned")


def test_each_frame_has_its_own_transformation(tmp_path):
    folder = pair(tmp_path / "in", units="")
    ds = pydicom.dcmread(folder / "pet.dcm")
    del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for number, group in zip(ORDER, ds.PerFrameFunctionalGroupsSequence, strict=True):
        own = item(RescaleSlope=str(1 + number), RescaleIntercept="0", RescaleType="BQML")
        group.PixelValueTransformationSequence = [own]
    save(ds, folder / "pet.dcm")
    run(folder, tmp_path)
    pet = read_nifti(tmp_path / "convert" / "pet_stored.nii.gz").array
    truth = voxels((10, 6, 5), seed=4) * (1.0 + np.arange(10))[:, None, None]
    np.testing.assert_allclose(pet, truth, rtol=1e-6)


def test_units_unknown(tmp_path):
    with pytest.raises(SuvError, match="units"):
        run(pair(tmp_path / "in", "mm"), tmp_path)


def test_decay_corrected_to_an_unknown_moment_is_refused(tmp_path):
    folder = pair(tmp_path / "in")
    ds = pydicom.dcmread(folder / "pet.dcm")
    del ds.DecayCorrectionDateTime
    save(ds, folder / "pet.dcm")
    with pytest.raises(SuvError, match="decay correction"):
        run(folder, tmp_path)


def test_decay_factors_of_frames_contradict_a_wrong_decay_correction_time(tmp_path):
    """PS3.3 C.8.22.5.5: frames may carry (0054,1321); 9:30 would make SUV 27 % too low."""
    folder = pair(tmp_path / "in")
    ds = pydicom.dcmread(folder / "pet.dcm")
    ds.DecayCorrectionDateTime = "20200310093000"
    for number, group in zip(ORDER, ds.PerFrameFunctionalGroupsSequence, strict=True):
        factor = 2 ** ((60 * number + 59.9) / 6586.2)
        group.PETFrameCorrectionFactorsSequence = [item(DecayFactor=round(factor, 6))]
    save(ds, folder / "pet.dcm")
    with pytest.raises(SuvError, match=r"0018,9701.*0054,1321.*30 min later"):
        run(folder, tmp_path)


def test_moments_in_utc_count_in_utc(tmp_path):
    folder = pair(tmp_path / "in")
    ds = pydicom.dcmread(folder / "pet.dcm")
    (drug,) = ds.RadiopharmaceuticalInformationSequence
    del drug.RadiopharmaceuticalStartTime
    drug.RadiopharmaceuticalStartDateTime = "20200310080000+0000"  # 09:00 where it is 10:00 in +0100
    ds.DecayCorrectionDateTime = "20200310100000+0100"
    for number, group in zip(ORDER, ds.PerFrameFunctionalGroupsSequence, strict=True):
        group.FrameContentSequence[0].FrameAcquisitionDateTime = f"2020031010{number:02d}00+0100"
    save(ds, folder / "pet.dcm")
    run(folder, tmp_path)
    factor = json.loads((tmp_path / "suv" / "suv.json").read_text())["factor"]
    assert factor == pytest.approx(2.92127349244366e-4, rel=1e-9)


def test_legacy_converted_object(tmp_path):
    """PS3.3 A.71: what a multi-frame object has no place for lies in (0020,9170) and (0020,9171)."""
    folder = pair(tmp_path / "in", units="")
    ds = pydicom.dcmread(folder / "pet.dcm")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.128.1"
    del ds.DecayCorrected, ds.AttenuationCorrected, ds.DecayCorrectionDateTime
    ds.SeriesTime = "100000"
    unassigned = item(Units="BQML", DecayCorrection="START", CorrectedImage=["ATTN", "DECY"])
    unassigned.RadiopharmaceuticalInformationSequence = ds.RadiopharmaceuticalInformationSequence
    del ds.RadiopharmaceuticalInformationSequence
    ds.SharedFunctionalGroupsSequence[0].UnassignedSharedConvertedAttributesSequence = [unassigned]
    for number, group in zip(ORDER, ds.PerFrameFunctionalGroupsSequence, strict=True):
        own = item(AcquisitionDate="20200310", AcquisitionTime=f"10{number:02d}00")
        group.UnassignedPerFrameConvertedAttributesSequence = [own]
        del group.FrameContentSequence
    save(ds, folder / "pet.dcm")
    run(folder, tmp_path)
    account = json.loads((tmp_path / "suv" / "suv.json").read_text())
    assert account["factor"] == pytest.approx(2.92127349244366e-4, rel=1e-9)
    assert account["slice_times"][3]["acquisition_time"] == "120300"  # the scan is at noon
