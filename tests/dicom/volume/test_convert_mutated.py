"""Broken files: refused in words or used rightly, never a traceback, a hang or a made-up SUV."""

import json
import math
import shutil
import time

import numpy as np
import pytest

from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import PatientError
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.volumes.nifti import read_nifti
from tests.dicom.mutate import mutate
from tests.dicom.write_dicom import Recipe, voxels, write_series

INDEX = IndexSettings(modalities=("pet",), min_slices=2)
SLICES = 4


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    recipe = Recipe("PT", (4.0, 4.0, 4.0), slope=2.5, intercept=0.0, description="pet")
    return write_series(tmp_path_factory.mktemp("sound") / "pet", voxels((SLICES, 7, 6)), recipe)


def survive(sound, folder, seed):
    """Run one broken patient through the stages; only PatientErrors may come out."""
    shutil.copytree(sound, folder / "in")
    change = mutate(sorted((folder / "in").iterdir()), seed)
    start = time.process_time()
    try:
        index_patient(PatientFiles("P1", folder / "in"), INDEX, folder / "index", "stop")
        convert_patient(folder / "index", folder / "convert", ConvertSettings(), "stop")
        suv_patient(folder / "convert", folder / "suv", SuvSettings(), "stop")
    except PatientError as error:
        assert "PLANTED" not in str(error)
        assert error.problem
        result = "refused"
    else:
        result = "used"
        check(folder, change)
    assert time.process_time() - start < 30
    shutil.rmtree(folder)
    return result


def check(folder, change):
    account = json.loads((folder / "suv" / "suv.json").read_text())
    factors = account["factors_by_slice"] or [account["factor"]]
    assert all(math.isfinite(f) and f > 0 for f in factors), change
    assert np.isfinite(read_nifti(folder / "suv" / "pet_suvbw.nii.gz").array).all(), change
    header = account["header"]
    if account["units"] == "BQML":
        assert header["weight_kg"] and header["total_dose_bq"], change


@pytest.mark.parametrize("block", range(4))
def test_two_hundred_mutations(sound, tmp_path, block):
    results = [survive(sound, tmp_path / str(seed), seed) for seed in range(block * 50, block * 50 + 50)]
    # Both must happen, else the mutations are all harmless or all fatal and prove nothing.
    assert {"refused", "used"} <= set(results)


@pytest.mark.nightly
def test_two_thousand_mutations(sound, tmp_path):
    for seed in range(1000, 3000):
        survive(sound, tmp_path / str(seed), seed)
