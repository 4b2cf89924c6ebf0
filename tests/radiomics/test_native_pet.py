"""PET metrics come from native voxels, whatever grid the contour lies on."""

import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DamageError
from pipeline.radiomics.native_pet import FeatureSources
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.sources import read_images, read_predicted
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.parquet import read_metadata
from pipeline.tables.status import Status, write_status
from pipeline.training.outputs import write_masks
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume
from tests.radiomics.test_features import rasterised

DEMO = RadiomicsSettings(feature_set="demo")
NATIVE = Grid((24, 24, 24), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
COARSE = Grid((12, 12, 12), (4.0, 4.0, 4.0), (1.0, 1.0, 1.0))
"""Voxels of 4 mm, each of eight native ones."""


def pet() -> np.ndarray:
    """1 g/mL, in the lesion 5, in one voxel of it 20."""
    values = np.ones(NATIVE.shape, np.float32)
    values[lesion()] = 5
    values[12, 12, 12] = 20
    return values


def lesion() -> np.ndarray:
    mask = np.zeros(NATIVE.shape, bool)
    mask[8:16, 8:16, 8:16] = True
    return mask


def seal(sources: FeatureSources) -> None:
    """Statuses of the stages, written once their files are there."""
    for folder in (sources.convert, sources.suv, sources.contours):
        assert folder is not None
        write_status(folder, Status("ok", folder.parent.name))


def averaged(values: np.ndarray) -> np.ndarray:
    return values.reshape(12, 2, 12, 2, 12, 2).mean(axis=(1, 3, 5)).astype(np.float32)


@pytest.fixture
def sources(tmp_path: Path) -> FeatureSources:
    """A crop of 4 mm voxels, averages of the native PET's 2 mm voxels, margin of one voxel."""
    files = FeatureSources(
        "P1",
        *(tmp_path / stage / "P1" for stage in ("convert", "suv", "contours", "registration")),
        tmp_path / "crops" / "P1.zarr",
    )
    write_nifti(files.convert / "ct_hu.nii.gz", Volume(pet() * 10, NATIVE))
    write_nifti(files.suv / "pet_suvbw.nii.gz", Volume(pet(), NATIVE))
    write_nifti(tmp_path / "contours" / "P1" / "gtv_ct.nii.gz", Volume(lesion().astype(np.uint8), NATIVE))
    seal(files)
    about = CropAttributes("P1", ("pet", "ct"), ("g/mL", "HU"), COARSE.spacing_mm, COARSE.origin_mm, margin=1)
    values = averaged(pet())
    inside = np.ones(COARSE.shape, np.uint8)
    drawn = (averaged(lesion()) > 0.5).astype(np.uint8)
    store.write_crop(
        tmp_path / "crops" / "P1.zarr", store.Crop(np.stack([values, values]), drawn, inside, about)
    )
    return files


def metrics(sources: FeatureSources, out: Path) -> dict[str, float]:
    radiomics_patient(sources, out, DEMO, "stop")
    row = pd.read_parquet(out).iloc[0]
    return {str(name): float(row[name]) for name in row.index if str(name).startswith("pet_")}


def test_the_hottest_native_voxel_counts_though_the_crop_averages_it(
    sources: FeatureSources, tmp_path: Path
) -> None:
    values = metrics(sources, tmp_path / "P1.parquet")
    assert values["pet_original_firstorder_Maximum"] == (7 * 5 + 20) / 8  # of the crop
    assert values["pet_index_suvmax"] == 20
    assert values["pet_index_volume_ml"] == pytest.approx(512 * 0.008)
    assert values["pet_index_mtv_41"] == pytest.approx(0.008)  # only one voxel reaches 8.2
    assert values["pet_index_tlg"] == pytest.approx((511 * 5 + 20) * 0.008)


def test_the_contour_drawn_on_the_pet_comes_first(sources: FeatureSources, tmp_path: Path) -> None:
    assert sources.contours is not None
    smaller = np.zeros(NATIVE.shape, np.uint8)
    smaller[8:12, 8:12, 8:12] = 1
    write_nifti(sources.contours / "gtv_pet.nii.gz", Volume(smaller, NATIVE))
    seal(sources)
    values = metrics(sources, tmp_path / "P1.parquet")
    assert (values["pet_index_suvmax"], values["pet_index_volume_ml"]) == (5, pytest.approx(64 * 0.008))


@pytest.mark.parametrize("shift_mm", [0.0, 6.0])
def test_a_predicted_contour_goes_back_to_native_voxels(
    sources: FeatureSources, tmp_path: Path, shift_mm: float
) -> None:
    """Also where the crop's attributes say that the PET was registered, by a shift along y."""
    assert sources.crop is not None
    crop = store.read_crop(sources.crop)
    predicted = crop.mask[1:-1, 1:-1, 1:-1]  # type: ignore[index]
    if shift_mm:
        to_pet = np.eye(4)
        to_pet[1, 3] = shift_mm
        rows = tuple(tuple(row) for row in to_pet.tolist())
        store.write_crop(sources.crop, replace(crop, attributes=replace(crop.attributes, pet_transform=rows)))
        moved = Volume(np.roll(pet(), round(shift_mm / 2), axis=1), NATIVE)
        write_nifti(sources.suv / "pet_suvbw.nii.gz", moved)
        seal(sources)
    write_masks(tmp_path / "masks.zarr", {"P1": predicted})
    # A new patient whose contour is predicted has no folder of contours.
    patient = read_predicted(replace(sources, contours=None), tmp_path / "masks.zarr")
    assert patient.pet is not None and patient.notes == ()
    expected = np.roll(lesion(), round(shift_mm / 2), axis=1)
    assert np.array_equal(patient.pet.image.mask, expected)
    assert patient.pet.image.values[patient.pet.image.mask].max() == 20


def test_a_contour_beyond_the_pet_is_told(sources: FeatureSources, tmp_path: Path) -> None:
    half = Grid((12, 24, 24), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    write_nifti(sources.suv / "pet_suvbw.nii.gz", Volume(np.ascontiguousarray(pet()[:12]), half))
    seal(sources)
    radiomics_patient(sources, tmp_path / "P1.parquet", DEMO, "stop")
    problem = read_metadata(tmp_path / "P1.parquet")[b"status"]["problem"]
    assert "50% of the contour lies beyond the PET" in problem
    assert "touches the border of the native PET" in problem


def test_a_contour_between_the_voxels_of_the_pet_has_no_metrics(
    sources: FeatureSources, tmp_path: Path
) -> None:
    coarse = Grid((3, 3, 3), (20.0, 20.0, 20.0), (0.0, 0.0, 0.0))
    write_nifti(sources.suv / "pet_suvbw.nii.gz", Volume(np.ones((3, 3, 3), np.float32), coarse))
    assert sources.contours is not None
    tiny = np.zeros(NATIVE.shape, np.uint8)
    tiny[12:14, 12:14, 12:14] = 1
    write_nifti(sources.contours / "gtv_ct.nii.gz", Volume(tiny, NATIVE))
    seal(sources)
    values = metrics(sources, tmp_path / "P1.parquet")
    assert np.isnan([v for k, v in values.items() if "_index_" in k]).all()
    assert np.isfinite(values["pet_original_firstorder_Mean"])
    problem = read_metadata(tmp_path / "P1.parquet")[b"status"]["problem"]
    assert "no voxel of the native PET" in problem


def test_a_native_pet_that_changed_is_refused(sources: FeatureSources, tmp_path: Path) -> None:
    write_nifti(sources.suv / "pet_suvbw.nii.gz", Volume(pet() * 2, NATIVE))
    with pytest.raises(DamageError, match="pet_suvbw"):
        radiomics_patient(sources, tmp_path / "P1.parquet", DEMO, "exclude")


STS = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).resolve().parents[2] / "../shared/data")) / "sts"


@pytest.mark.skipif(not STS.is_dir(), reason=f"no sarcoma patients at {STS}")
def test_suvmax_of_a_real_patient_is_that_of_the_files(tmp_path: Path) -> None:
    """STS_026: 6.07 g/mL in the DICOM files (Units GML), 3.73 on a grid of 4 mm; one hot voxel."""
    with tarfile.open(STS / "STS_026.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    image, mask, spacing = rasterised(tmp_path / "STS_026" / "PET", "GTV_Mass_PET")
    grid = Grid((mask.shape[0], mask.shape[1], mask.shape[2]), spacing, (0.0, 0.0, 0.0))
    files = FeatureSources(
        "P1", *(tmp_path / stage for stage in ("convert", "suv", "contours", "registration"))
    )
    write_nifti(files.suv / "pet_suvbw.nii.gz", Volume(image, grid))
    write_nifti(files.convert / "ct_hu.nii.gz", Volume(image, grid))
    write_nifti(tmp_path / "contours" / "gtv_pet.nii.gz", Volume(mask.astype(np.uint8), grid))
    seal(files)
    patient = read_images(files)
    assert patient.pet is not None
    assert patient.pet.image.values[patient.pet.image.mask].max() == pytest.approx(6.07, abs=0.005)
