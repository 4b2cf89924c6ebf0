"""NIfTI files against SimpleITK, which did not write them."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import GeometryError
from pipeline.volumes.nifti import read_grid, read_nifti, to_itk, write_nifti
from pipeline.volumes.volume import Grid, Volume

OBLIQUE = np.linalg.qr(np.array([[0.9, 0.1, -0.3], [-0.2, 0.95, 0.2], [0.3, -0.1, 0.9]]))[0]
AXES = {
    "axial": np.eye(3),
    "feet first": np.diag([-1.0, 1.0, -1.0]),
    "prone": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "oblique": OBLIQUE * np.sign(np.linalg.det(OBLIQUE)),
}


def volume(axes, dtype="float32"):
    values = np.random.default_rng(0).integers(0, 100, (5, 4, 3)).astype(dtype)
    direction = tuple(tuple(float(v) for v in row) for row in axes)
    return Volume(values, Grid((5, 4, 3), (3.27, 2.5, 0.976562), (-133.984, 82.5, -849.3), direction))


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_geometry_and_values_are_what_simpleitk_writes(tmp_path, axes):
    given = volume(axes)
    write_nifti(tmp_path / "ours.nii.gz", given)
    sitk.WriteImage(to_itk(given), str(tmp_path / "theirs.nii.gz"))
    ours, theirs = read_nifti(tmp_path / "ours.nii.gz"), read_nifti(tmp_path / "theirs.nii.gz")
    assert np.array_equal(ours.array, given.array)
    assert ours.array.dtype == theirs.array.dtype
    for index in itertools.product((0, 4), (0, 3), (0, 2)):
        np.testing.assert_allclose(ours.grid.points(index), given.grid.points(index), atol=1e-4)
        np.testing.assert_allclose(ours.grid.points(index), theirs.grid.points(index), atol=1e-4)
    assert read_grid(tmp_path / "ours.nii.gz").matches(given.grid)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_types(tmp_path, dtype):
    write_nifti(tmp_path / "v.nii.gz", volume(np.eye(3), dtype))
    back = read_nifti(tmp_path / "v.nii.gz").array
    assert str(back.dtype) == dtype
    assert np.array_equal(back, volume(np.eye(3), dtype).array)


def test_several_members_and_levels(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.volumes.nifti._BLOCK_BYTES", 64)
    for level in (0, 1, 9):
        write_nifti(tmp_path / "v.nii.gz", volume(np.eye(3)), level)
        assert np.array_equal(read_nifti(tmp_path / "v.nii.gz").array, volume(np.eye(3)).array)


def test_same_volume_same_bytes(tmp_path):
    for name in "ab":
        write_nifti(tmp_path / f"{name}.nii.gz", volume(OBLIQUE))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_big_endian_and_strided_arrays(tmp_path):
    given = volume(np.eye(3), "int16")
    turned = given.with_array(given.array.astype(">i2")[:, ::-1].copy()[:, ::-1])
    write_nifti(tmp_path / "v.nii.gz", turned)
    assert np.array_equal(read_nifti(tmp_path / "v.nii.gz").array, given.array)


def test_a_type_that_nifti_lacks_is_refused(tmp_path):
    with pytest.raises(GeometryError, match="float16"):
        write_nifti(tmp_path / "v.nii.gz", volume(np.eye(3), "float16"))
