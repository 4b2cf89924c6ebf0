"""Enhanced multi-frame CT and PET: geometry, values, units and decay of functional groups."""

import json

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipeline.dicom.convert import convert_patient
from pipeline.dicom.index import index_patient
from pipeline.dicom.suv import suv_patient
from pipeline.errors import SuvError
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
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
            item(RescaleSlope=str(recipe.slope), RescaleIntercept=str(recipe.intercept), RescaleType="US")
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
    run(pair(tmp_path / "in", "{SUVbw}g/ml"), tmp_path)
    assert json.loads((tmp_path / "suv" / "suv.json").read_text())["factor"] == 1.0


def test_units_unknown(tmp_path):
    with pytest.raises(SuvError, match="units"):
        run(pair(tmp_path / "in", "mm"), tmp_path)
