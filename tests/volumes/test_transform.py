"""Transform files: what is written is read, by SimpleITK too; how a PET lies on the CT."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import DamageError, GeometryError, PipelineError
from pipeline.volumes.transform import (
    PET_MATRIX,
    inverse,
    pet_matrix,
    read_matrix,
    transform_points,
    write_matrix,
)

# A quarter turn about z (x to y), then a shift.
TURN = np.array([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, -7.0], [0.0, 0.0, 1.0, 9.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.mark.parametrize("ending", ["mat", "tfm"])
def test_what_is_written_is_read(tmp_path, ending):
    path = tmp_path / "folder" / f"turn.{ending}"
    write_matrix(path, TURN)
    assert read_matrix(path) == pytest.approx(TURN)
    assert sitk.ReadTransform(str(path)).TransformPoint((1.0, 2.0, 3.0)) == pytest.approx((3.0, -6.0, 12.0))


def test_points_move_there_and_back():
    points = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    moved = transform_points(TURN, points)
    assert moved.tolist() == [[3.0, -6.0, 12.0], [5.0, -7.0, 9.0]]
    assert transform_points(inverse(TURN), moved) == pytest.approx(points)


def test_what_is_no_linear_transform_is_refused(tmp_path):
    (tmp_path / "text.tfm").write_text("no transform")
    with pytest.raises(DamageError, match="expected: an ITK transform"):
        read_matrix(tmp_path / "text.tfm")
    field = sitk.DisplacementFieldTransform(sitk.Image(3, 3, 3, sitk.sitkVectorFloat64))
    sitk.WriteTransform(field, str(tmp_path / "field.tfm"))
    with pytest.raises(GeometryError, match="not linear"):
        read_matrix(tmp_path / "field.tfm")


def test_a_pet_of_another_frame_needs_its_registration(tmp_path):
    assert np.array_equal(pet_matrix(tmp_path, None), np.eye(4))
    (tmp_path / "pet.json").write_text('{"pet_to_ct": "register"}')
    with pytest.raises(PipelineError, match="was not registered"):
        pet_matrix(tmp_path, tmp_path)
    write_matrix(tmp_path / PET_MATRIX, TURN)
    assert pet_matrix(tmp_path, tmp_path) == pytest.approx(TURN)
