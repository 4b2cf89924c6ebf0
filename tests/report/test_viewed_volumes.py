"""What the viewer holds: nothing, the crop, the whole scan; saliency of explained patients."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.report import slices
from pipeline.report.job import ReportJob
from pipeline.report.patient_volumes import ViewedCrop
from pipeline.report.viewed_volumes import saliency_of, viewed_volumes
from pipeline.store.crops import Crop, read_crop
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume
from tests.report.synthetic_study import make_study

CT = Grid((24, 20, 20), (3.0, 3.0, 3.0), (-12.0, -15.0, -9.0))
PET = Grid((12, 10, 10), (6.0, 6.0, 6.0), (-10.5, -13.5, -7.5))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    """The synthetic study, with a scan of A1: HU is x in mm, SUV is z in mm."""
    results = tmp_path_factory.mktemp("viewed") / "results"
    made = make_study(results)
    for grid, name, axis in ((CT, "convert/A1/ct_hu", 0), (PET, "suv/A1/pet_suvbw", 2)):
        points = grid.points(np.argwhere(np.ones(grid.shape))).reshape(*grid.shape, 3)
        array = points[..., axis].astype(np.float32 if axis else np.int16)
        write_nifti(results / f"{name}.nii.gz", Volume(array, grid))
    (results / "convert/A1/pet.json").write_text(json.dumps({"pet_to_ct": "same_frame"}))
    return made


def with_viewer(job: ReportJob, viewer: str) -> ReportJob:
    report = job.settings.report.model_copy(update={"viewer": viewer})
    return replace(job, settings=job.settings.model_copy(update={"report": report}))


def seen(job: ReportJob, viewer: str) -> tuple[Crop, ViewedCrop | None]:
    crop = read_crop(job.results / "crops" / "A1.zarr")
    return crop, viewed_volumes(with_viewer(job, viewer), crop, slices.example_of(crop, None, "A1"))


def test_off_holds_nothing_and_crop_the_crop(job: ReportJob) -> None:
    assert seen(job, "off")[1] is None
    crop, volumes = seen(job, "crop")
    assert volumes is not None and volumes.grid.shape == crop.image.shape[1:]
    assert set(volumes.images) == {"ct", "pet"} and set(volumes.masks) == {"manual"}


def test_full_holds_the_scan_with_the_contour_where_it_is(job: ReportJob) -> None:
    crop, volumes = seen(job, "full")
    assert volumes is not None and volumes.grid.matches(CT)
    points = CT.points(np.argwhere(np.ones(CT.shape))).reshape(*CT.shape, 3)
    assert np.array_equal(volumes.images["ct"], points[..., 0])
    inner = (slice(4, -4),) * 3
    assert volumes.images["pet"][inner] == pytest.approx(points[..., 2][inner], abs=1e-3)
    assert crop.mask is not None
    drawn = CT.points(np.argwhere(volumes.masks["manual"]))
    own = crop.attributes.grid(crop.image.shape[1:]).points(np.argwhere(crop.mask))
    # To half a voxel of either grid.
    assert np.abs(drawn.min(axis=0) - own.min(axis=0)).max() <= 2.5
    assert np.abs(drawn.max(axis=0) - own.max(axis=0)).max() <= 2.5
    assert volumes.masks["manual"][volumes.focus] == 1


def test_saliency_is_the_first_map_without_sign_from_0_to_1(job: ReportJob, tmp_path: Path) -> None:
    explain = job.settings.explain.model_copy(update={"models": ("deepmts",)})
    explained = replace(job, results=tmp_path, settings=job.settings.model_copy(update={"explain": explain}))
    assert saliency_of(explained, "A1") is None
    folder = tmp_path / "explain" / "deepmts"
    folder.mkdir(parents=True)
    values = np.zeros((2, 3, 4), np.float32)
    values[0, 0, 0], values[1, 2, 3] = -4.0, 2.0
    np.savez_compressed(folder / "A1.npz", gradcam=values, occlusion=np.ones((2, 3, 4), np.float32))
    found = saliency_of(explained, "A1")
    assert found is not None and found[0, 0, 0] == 1.0 and found[1, 2, 3] == 0.5 and found.min() == 0
