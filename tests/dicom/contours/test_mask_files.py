"""Masks as files: which image they belong to, labels, other geometries."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import GeometryError
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import (
    CT_GRID,
    PET_GRID,
    masks,
    patient,
    refused,
    run,
    with_roi,
    write_mask,
)


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "M.NRRD", "m.mha"])
def test_a_mask_file_goes_to_the_image_whose_voxels_it_has(tmp_path, name):
    sources = patient(tmp_path)
    array = write_mask(tmp_path / name, PET_GRID)
    report = run(with_roi(sources, name), tmp_path / "out")
    assert list(report["masks"]) == ["pet"]
    assert np.array_equal(masks(tmp_path / "out")["gtv_pet.nii.gz"].array, array)


def test_a_mask_path_may_start_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_mask(tmp_path / "elsewhere" / "m.nii.gz", CT_GRID)
    sources = patient(tmp_path / "p")
    assert list(run(with_roi(sources, "m.nii.gz"), tmp_path / "out")["masks"]) == ["ct"]
    refused(tmp_path, with_roi(sources, "other.nii.gz"), "does not exist")


def test_labels_are_chosen_or_united(tmp_path):
    array = np.zeros(CT_GRID.shape, np.uint8)
    array[1, 1, 1], array[2, 2, :2], array[3, 3, :4] = 1, 2, 5
    write_mask(tmp_path / "m.nii.gz", CT_GRID, array)
    sources = patient(tmp_path)
    assert run(with_roi(sources, "m.nii.gz:1,5"), tmp_path / "a")["masks"]["ct"]["voxels"] == 5
    report = run(with_roi(sources, "m.nii.gz"), tmp_path / "b")
    assert report["masks"]["ct"]["voxels"] == 7 and "labels 1, 2, 5" in report["warnings"][0]
    refused(tmp_path, with_roi(sources, "m.nii.gz:3"), "lacks a label")


def test_an_image_and_a_cut_file_are_no_masks(tmp_path):
    array = np.arange(np.prod(CT_GRID.shape)).reshape(CT_GRID.shape) % 1000
    write_mask(tmp_path / "ct.nii.gz", CT_GRID, array.astype(np.uint16))
    sources = patient(tmp_path)
    refused(tmp_path, with_roi(sources, "ct.nii.gz"), "more values than labels")
    write_mask(tmp_path / "m.nii.gz", CT_GRID)
    whole = (tmp_path / "m.nii.gz").read_bytes()
    (tmp_path / "m.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GeometryError, match="cut or damaged"):
        run(with_roi(sources, "m.nii.gz"), tmp_path / "out")


def test_a_mask_stored_from_the_other_end_is_turned(tmp_path):
    # The same voxels with x reversed and y and z exchanged: what other programs write.
    array = np.zeros(CT_GRID.shape, np.uint8)
    array[2:4, 5:9, 3:12] = 1
    turned = Grid(
        (40, 10, 40),
        (1.0, 3.0, 1.0),
        (CT_GRID.origin_mm[0] + 39.0, CT_GRID.origin_mm[1], CT_GRID.origin_mm[2]),
        ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    )
    write_mask(tmp_path / "m.nrrd", turned, np.ascontiguousarray(array[:, :, ::-1].transpose(1, 0, 2)))
    run(with_roi(patient(tmp_path), "m.nrrd"), tmp_path / "out")
    assert np.array_equal(masks(tmp_path / "out")["gtv_ct.nii.gz"].array, array)


@pytest.mark.parametrize(
    "grid",
    [
        Grid(CT_GRID.shape, CT_GRID.spacing_mm, (-19.0, -30.0, 100.0)),
        Grid(CT_GRID.shape, (3.0, 1.0, 1.01), CT_GRID.origin_mm),
        Grid((10, 40, 39), CT_GRID.spacing_mm, CT_GRID.origin_mm),
        Grid(
            CT_GRID.shape,
            CT_GRID.spacing_mm,
            CT_GRID.origin_mm,
            ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0, 0, 1)),
        ),
    ],
)
def test_a_mask_of_other_voxels_is_refused_with_both_geometries(tmp_path, grid):
    write_mask(tmp_path / "m.nii.gz", grid)
    with pytest.raises(GeometryError) as caught:
        run(with_roi(patient(tmp_path), "m.nii.gz"), tmp_path / "out")
    message = str(caught.value)
    assert (
        CT_GRID.describe() in message and PET_GRID.describe() in message and grid.describe()[:20] in message
    )


def test_a_probability_map_is_no_mask(tmp_path):
    write_mask(tmp_path / "m.nii.gz", CT_GRID, np.full(CT_GRID.shape, 0.3, np.float32))
    refused(tmp_path, with_roi(patient(tmp_path), "m.nii.gz"), "not labels")
