"""Images and contours of native volumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import PipelineError, SettingsError
from pipeline.radiomics.native_pet import FeatureSources
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.parquet import read_metadata
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.transform import write_matrix
from pipeline.volumes.volume import Grid, Volume
from tests.radiomics.patient_files import files_of

DEMO = RadiomicsSettings(feature_set="demo")
SHAPE = (20, 24, 22)


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "pet": rng.gamma(4, 1.5, SHAPE).astype(np.float32),
        "ct": rng.normal(40, 30, SHAPE).astype(np.float32),
    }


def ball(radius: float = 5.0) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (z - 10) ** 2 + (y - 12) ** 2 + (x - 11) ** 2 <= radius**2


def crop(path: Path, mask: np.ndarray | None) -> Path:
    image = np.stack(list(images().values()))
    attributes = CropAttributes(path.stem, ("pet", "ct"), ("g/mL", "HU"), (3.0, 2.0, 2.0))
    drawn = None if mask is None else mask.astype(np.uint8)
    store.write_crop(path, store.Crop(image, drawn, np.ones(SHAPE, np.uint8), attributes))
    return path


def native(folder: Path, contours: tuple[str, ...]) -> FeatureSources:
    grid = Grid(SHAPE, (3.0, 2.0, 2.0), (-5.0, 7.0, 11.0))
    sources = FeatureSources(
        "P1", folder / "convert", folder / "suv", folder / "contours", folder / "registration"
    )
    arrays = images()
    write_nifti(sources.convert / "ct_hu.nii.gz", Volume(arrays["ct"], grid))
    write_nifti(sources.suv / "pet_suvbw.nii.gz", Volume(arrays["pet"], grid))
    for name in contours:
        write_nifti(folder / "contours" / f"gtv_{name}.nii.gz", Volume(ball().astype(np.uint8), grid))
    for stage in ("convert", "suv", "contours"):
        write_status(folder / stage, Status("ok", stage))
    return sources


@pytest.mark.parametrize("contours", [("ct", "pet"), ("pet",), ()])
def test_native_volumes_give_what_a_crop_of_the_same_voxels_gives(tmp_path: Path, contours: tuple) -> None:
    out = tmp_path / "native.parquet"
    settings = DEMO.model_copy(update={"images": "native"})
    radiomics_patient(native(tmp_path, contours), out, settings, "stop")
    status = read_metadata(out)[b"status"]
    if not contours:
        assert "no contour" in status["problem"] and len(pd.read_parquet(out)) == 0
        return
    assert ("was resampled" in status["problem"]) == (len(contours) == 1)
    radiomics_patient(files_of(crop(tmp_path / "P1.zarr", ball())), tmp_path / "crop.parquet", DEMO, "stop")
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path / "crop.parquet"))


@pytest.mark.parametrize("from_crop", [False, True])
def test_a_contour_goes_through_the_registration_of_another_frame_of_reference(
    tmp_path: Path, from_crop: bool
) -> None:
    """The PET's coordinates are shifted by two voxels along x; the values under the contour are the same."""
    settings = DEMO.model_copy(update={"images": "crop" if from_crop else "native"})
    sources = files_of(crop(tmp_path / "P1.zarr", ball()))
    if not from_crop:
        sources = replace(sources, crop=None)
    same, shifted = tmp_path / "same.parquet", tmp_path / "shifted.parquet"
    radiomics_patient(sources, same, settings, "stop")
    grid = Grid(SHAPE, (3.0, 2.0, 2.0), (4.0, 0.0, 0.0))
    write_nifti(sources.suv / "pet_suvbw.nii.gz", Volume(images()["pet"], grid))
    (sources.convert / "pet.json").write_text('{"pet_to_ct": "register"}')
    for stage in ("convert", "suv", "registration"):
        write_status(tmp_path / stage / "P1", Status("ok", stage))
    with pytest.raises(PipelineError, match="was not registered"):
        radiomics_patient(sources, shifted, settings, "stop")
    to_pet = np.eye(4)
    to_pet[0, 3] = 4.0
    write_matrix(tmp_path / "registration" / "P1" / "pet_to_ct.mat", to_pet)
    write_status(tmp_path / "registration" / "P1", Status("ok", "registration"))
    radiomics_patient(sources, shifted, settings, "stop")
    pd.testing.assert_frame_equal(pd.read_parquet(same), pd.read_parquet(shifted))


def test_images_asked_for_are_never_swapped(tmp_path: Path) -> None:
    settings = DEMO.model_copy(update={"images": "native"})
    with pytest.raises(SettingsError, match="asks for 'native'"):
        radiomics_patient(
            files_of(crop(tmp_path / "P1.zarr", ball())), tmp_path / "P1.parquet", settings, "stop"
        )
    with pytest.raises(SettingsError, match="asks for 'crop'"):
        radiomics_patient(native(tmp_path, ("ct",)), tmp_path / "P1.parquet", DEMO, "stop")
