"""A row of features per patient, or a status that says why there is none."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import zarr

from pipeline.errors import DamageError, RadiomicsError, SettingsError
from pipeline.radiomics.pet_metrics import PET_METRIC_COLUMNS
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.parquet import read_metadata
from pipeline.tables.status import Status
from tests.radiomics.patient_files import files_of

DEMO = RadiomicsSettings(feature_set="demo")
SHAPE = (20, 24, 22)
EXCLUDED = {
    "state": "excluded",
    "stage": "suv",
    "problem": "no weight; where: (0010,1030).",
    "consequence": "excluded from the study",
}


def images() -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([rng.gamma(4, 1.5, SHAPE), rng.normal(40, 30, SHAPE)]).astype(np.float32)


def write_crop(
    path: Path, mask: np.ndarray | None, image: np.ndarray | None = None, excluded: bool = False
) -> Path:
    if excluded:
        store.write_excluded(path, Status(**EXCLUDED))
        return path
    image = images() if image is None else image
    attributes = CropAttributes(
        path.stem,
        ("pet", "ct"),
        ("g/mL", "HU"),
        (3.0, 2.0, 2.0),
        contour="none" if mask is None else "manual",
    )
    drawn = None if mask is None else mask.astype(np.uint8)
    store.write_crop(path, store.Crop(image, drawn, np.ones(SHAPE, np.uint8), attributes))
    return path


def ball(radius: float = 5.0) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (z - 10) ** 2 + (y - 12) ** 2 + (x - 11) ** 2 <= radius**2


def test_one_row_with_every_column_and_metadata(tmp_path: Path) -> None:
    out = tmp_path / "P1.parquet"
    radiomics_patient(files_of(write_crop(tmp_path / "P1.zarr", ball())), out, DEMO, "stop")
    frame = pd.read_parquet(out)
    assert len(frame) == 1
    assert frame.loc[0, "patient_id"] == "P1"
    assert frame.drop(columns="patient_id").notna().all(axis=None)
    assert set(PET_METRIC_COLUMNS) <= set(frame.columns)
    assert {"pet_original_firstorder_Mean", "ct_original_shape_MeshVolume"} <= set(frame.columns)
    metadata = pq.read_schema(out).metadata
    assert json.loads(metadata[b"status"])["state"] == "ok"
    assert len(json.loads(metadata[b"settings_hash"])) == 16


def test_excluded_upstream_is_passed_on_with_the_same_columns(tmp_path: Path) -> None:
    good, bad = tmp_path / "P1.parquet", tmp_path / "P2.parquet"
    radiomics_patient(files_of(write_crop(tmp_path / "P1.zarr", ball())), good, DEMO, "stop")
    radiomics_patient(files_of(write_crop(tmp_path / "P2.zarr", None, excluded=True)), bad, DEMO, "stop")
    assert len(pd.read_parquet(bad)) == 0
    assert pq.read_schema(bad).names == pq.read_schema(good).names
    assert read_metadata(bad)[b"status"] == EXCLUDED


def test_no_contour_gives_no_row_and_a_warning(tmp_path: Path) -> None:
    out = tmp_path / "P3.parquet"
    radiomics_patient(files_of(write_crop(tmp_path / "P3.zarr", None)), out, DEMO, "stop")
    status = read_metadata(out)[b"status"]
    assert len(pd.read_parquet(out)) == 0
    assert status["state"] == "warned" and "no contour" in status["problem"]


def test_an_empty_mask_follows_the_policy(tmp_path: Path) -> None:
    crop = write_crop(tmp_path / "P4.zarr", np.zeros(SHAPE, bool))
    out = tmp_path / "P4.parquet"
    with pytest.raises(RadiomicsError, match="patient P4"):
        radiomics_patient(files_of(crop), out, DEMO, "stop")
    radiomics_patient(files_of(crop), out, DEMO, "exclude")
    assert len(pd.read_parquet(out)) == 0
    assert read_metadata(out)[b"status"]["state"] == "excluded"


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    sources = files_of(write_crop(tmp_path / "P5.zarr", ball()))
    zarr.open_group(str(sources.crop), mode="r+")["mask"][0, 0, 0] = 1
    with pytest.raises(DamageError, match="SHA-256"):
        radiomics_patient(sources, tmp_path / "P5.parquet", DEMO, "stop")


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamageError, match="P6"):
        radiomics_patient(files_of(tmp_path / "P6.zarr"), tmp_path / "P6.parquet", DEMO, "stop")


def test_an_unknown_feature_is_a_settings_error_not_a_patients(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: wrong\ntexture: {glcm: [Contrastt]}\n"
        "discretisations: {pet: [{bin_width: 1}], ct: [{bin_width: 25}]}\n"
    )
    crop = write_crop(tmp_path / "P1.zarr", ball())
    with pytest.raises(SettingsError, match="Contrastt"):
        settings = RadiomicsSettings(feature_set=str(path))
        radiomics_patient(files_of(crop), tmp_path / "P1.parquet", settings, "exclude")


def test_one_voxel_has_first_order_and_volume_but_no_texture(tmp_path: Path) -> None:
    # PyRadiomics refuses a single voxel; here the patient stays, and what has no value is NaN.
    mask = np.zeros(SHAPE, bool)
    mask[10, 12, 11] = True
    out = tmp_path / "P1.parquet"
    radiomics_patient(files_of(write_crop(tmp_path / "P1.zarr", mask)), out, DEMO, "stop")
    row = pd.read_parquet(out).iloc[0]
    value = float(images()[0][10, 12, 11])
    assert row["pet_original_firstorder_Mean"] == row["pet_index_suvmax"] == pytest.approx(value)
    assert row["pet_index_volume_ml"] == pytest.approx(0.012)
    assert row["ct_original_shape_MeshVolume"] == pytest.approx(4 / 3 * 1.5 * 1 * 1)  # an octahedron
    assert row.filter(regex="_glcm_|_glrlm_|Flatness|Elongation").astype(float).isna().all()
    status = read_metadata(out)[b"status"]
    assert status["state"] == "warned" and "1 voxels, fewer than 8" in status["problem"]


def test_touching_the_border_is_warned_of(tmp_path: Path) -> None:
    mask = np.roll(ball(), -5, axis=0)
    out = tmp_path / "P1.parquet"
    radiomics_patient(files_of(write_crop(tmp_path / "P1.zarr", mask)), out, DEMO, "stop")
    problem = read_metadata(out)[b"status"]["problem"]
    assert "touches the border of the ct: shape" in problem
    assert "touches the border of the native PET" in problem
    assert problem.count("touches the border") == 2  # PET and CT of a crop share a mask


def test_zscored_features_do_not_change_with_the_units(tmp_path: Path) -> None:
    settings = RadiomicsSettings(feature_set="deepmts", intensities="zscored")
    radiomics_patient(
        files_of(write_crop(tmp_path / "P1.zarr", ball())), tmp_path / "a.parquet", settings, "stop"
    )
    attributes = CropAttributes("P2", ("pet", "ct"), ("g/mL", "HU"), (3.0, 2.0, 2.0))
    image = np.stack([images()[0] * 4, images()[1] * 2 + 100])
    made = store.Crop(image, ball().astype(np.uint8), np.ones(SHAPE, np.uint8), attributes)
    store.write_crop(tmp_path / "P2.zarr", made)
    radiomics_patient(files_of(tmp_path / "P2.zarr"), tmp_path / "b.parquet", settings, "stop")
    first, second = (pd.read_parquet(tmp_path / f"{name}.parquet").iloc[0] for name in "ab")
    columns = [
        "pet_original_firstorder_Mean",
        "ct_original_firstorder_Variance",
        "ct_original_shape_Sphericity",
    ]
    np.testing.assert_allclose(first[columns].astype(float), second[columns].astype(float), rtol=1e-5)
    assert second["pet_index_suvmax"] == pytest.approx(4 * first["pet_index_suvmax"])
