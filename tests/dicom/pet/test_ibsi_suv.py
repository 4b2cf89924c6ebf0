"""The IBSI-SUV digital reference objects: 17 PET series whose SUV the community has agreed on."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.dicom.contours.mask_files import on_grid
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import SuvError
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.volumes.nifti import read_nifti

DATA = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).resolve().parents[3] / "../shared/data"))
ARCHIVE = DATA / "ibsi_suv" / "DRO.tar.xz"
pytestmark = pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="the IBSI-SUV reference objects are not here (ibsi_suv/DRO.tar.xz)"
)
OBJECTS = [
    "0_0", "1_0", "2_0", "2_1", "2_2", "2_3", "2_4", "2_5",
    "3_0", "3_1", "3_2", "3_3", "3_4", "4_0", "4_1", "4_2", "5_0",
]  # fmt: skip
# Minimum, median and maximum in each object's mask (IBSI-SUV manual).
EXPECTED = (0.2, 1.0, 4.0)
# A setting where the default refuses, as the refusal says.
SETTINGS = {"3_0": {"dose_in_mbq": "convert"}, "3_3": {"reference_time": "header"}}


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    target = tmp_path_factory.mktemp("ibsi")
    with tarfile.open(ARCHIVE) as content:
        content.extractall(target, filter="data")
    return target / "DRO"


def suv_of(folder: Path, out: Path, **settings):
    index = IndexSettings(modalities=("pet",), min_slices=2)
    index_patient(PatientFiles("P1", folder / "PT"), index, out / "index", "stop")
    convert_patient(out / "index", out / "convert", ConvertSettings(), "stop")
    suv_patient(out / "convert", out / "suv" / "P1", SuvSettings(**settings), "stop")
    return read_nifti(out / "suv" / "P1" / "pet_suvbw.nii.gz")


@pytest.mark.parametrize("name", OBJECTS)
def test_reference_object(objects, tmp_path, name):
    folder = objects / f"DRO_{name}"
    suv = suv_of(folder, tmp_path, **SETTINGS.get(name, {}))
    mask = read_nifti(folder / "mask" / "DRO_mask.nii.gz")
    values = suv.array[on_grid(mask.array > 0, mask.grid, suv.grid)]
    measured = (values.min(), np.median(values), values.max())
    # The objects cut values down to whole stored steps: in DRO_2_3 4.00 becomes 105 × 0.01 × 3.79.
    slope = float(pydicom.dcmread(next((folder / "PT").iterdir()), stop_before_pixels=True).RescaleSlope)
    step = slope * {"2_1": 1.2385, "2_2": 1.0086, "2_3": 3.7876}.get(name, 0.0)
    np.testing.assert_allclose(measured, EXPECTED, rtol=2e-3, atol=step)


@pytest.mark.parametrize(
    ("name", "setting"), [("3_0", r"suv\.dose_in_mbq: convert"), ("3_3", r"suv\.reference_time: header")]
)
def test_what_is_refused_by_default_names_its_setting(objects, tmp_path, name, setting):
    # 3_0: a dose in MBq; 3_3: frames acquired half an hour after GE's private time.
    with pytest.raises(SuvError, match=setting):
        suv_of(objects / f"DRO_{name}", tmp_path)
