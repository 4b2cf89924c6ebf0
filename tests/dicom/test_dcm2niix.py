"""Geometry and intensities against dcm2niix (Debian package), voxel by voxel in patient space."""

import shutil
import subprocess

import numpy as np
import pytest

from pipeline.dicom.convert import convert_patient
from pipeline.dicom.index import index_patient
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles
from pipeline.volumes.nifti import read_nifti
from tests.dicom.test_convert import POSITIONS
from tests.dicom.write_dicom import Recipe, voxels, write_series

pytestmark = pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")


def theirs(folder, out):
    out.mkdir()
    command = ["dcm2niix", "-z", "n", "-b", "n", "-f", "volume", "-o", str(out), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return read_nifti(out / "volume.nii")


def ours(folder, out, modality):
    settings = IndexSettings(modalities=(modality,), min_slices=2)
    index_patient(PatientFiles("P1", folder), settings, out / "index", "stop")
    convert_patient(out / "index", out / "convert", ConvertSettings(), "stop")
    return read_nifti(out / "convert" / {"ct": "ct_hu.nii.gz", "pet": "pet_stored.nii.gz"}[modality])


@pytest.mark.parametrize("modality", ["ct", "pet"])
@pytest.mark.parametrize("axes", POSITIONS.values(), ids=POSITIONS.keys())
def test_same_value_at_every_voxel(tmp_path, axes, modality):
    recipe = Recipe(
        "CT" if modality == "ct" else "PT",
        orientation=tuple(axes[:, 0]) + tuple(axes[:, 1]),
        slope=1.0 if modality == "ct" else 2.5,
        intercept=-1024.0 if modality == "ct" else 0.0,
    )
    folder = write_series(tmp_path / "in", voxels(), recipe)
    mine, other = ours(folder, tmp_path, modality), theirs(folder, tmp_path / "dcm2niix")
    index = np.stack(np.indices(mine.array.shape), axis=-1).reshape(-1, 3)
    there = other.grid.indices(mine.grid.points(index))
    assert np.abs(there - np.round(there)).max() < 2e-3
    z, y, x = np.round(there).astype(int).T
    np.testing.assert_allclose(mine.array.ravel(), other.array[z, y, x], rtol=1e-6, atol=1e-6)
