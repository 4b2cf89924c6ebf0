"""The stage: one row per patient, status passed on, settings never mixed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import zarr

from pipeline.errors import RadiomicsError, SettingsError, TableError
from pipeline.radiomics.feature_row import read_metadata
from pipeline.radiomics.pet_metrics import INDEX_COLUMNS
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.radiomics_table import gather_features
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.status import Status

DEMO = RadiomicsSettings(feature_set="demo")
EXCLUDED = {
    "state": "excluded",
    "stage": "suv",
    "problem": "no weight; where: (0010,1030).",
    "consequence": "excluded from the study",
}


def write_crop(
    path: Path, mask: np.ndarray | None, image: np.ndarray | None = None, excluded: bool = False
) -> Path:
    if excluded:
        store.write_excluded(path, Status(**EXCLUDED))
        return path
    rng = np.random.default_rng(1)
    shape = (20, 24, 22)
    if image is None:
        image = np.stack([rng.gamma(4, 1.5, shape), rng.normal(40, 30, shape)]).astype(np.float32)
    attributes = CropAttributes(
        path.stem,
        ("pet", "ct"),
        ("g/mL", "HU"),
        (3.0, 2.0, 2.0),
        contour="none" if mask is None else "manual",
    )
    drawn = None if mask is None else mask.astype(np.uint8)
    store.write_crop(path, store.Crop(image, drawn, np.ones(shape, np.uint8), attributes))
    return path


def ball(radius: float = 5.0) -> np.ndarray:
    z, y, x = np.indices((20, 24, 22))
    return (z - 10) ** 2 + (y - 12) ** 2 + (x - 11) ** 2 <= radius**2


def test_one_row_with_every_column_and_metadata(tmp_path: Path) -> None:
    out = tmp_path / "P1.parquet"
    radiomics_patient(write_crop(tmp_path / "P1.zarr", ball()), out, DEMO, "stop")
    frame = pd.read_parquet(out)
    assert len(frame) == 1
    assert frame.loc[0, "patient_id"] == "P1"
    assert frame.drop(columns="patient_id").notna().all(axis=None)
    assert set(INDEX_COLUMNS) <= set(frame.columns)
    assert {"pet_original_firstorder_Mean", "ct_original_shape_MeshVolume"} <= set(frame.columns)
    metadata = pq.read_schema(out).metadata
    assert json.loads(metadata[b"status"])["state"] == "ok"
    assert len(json.loads(metadata[b"settings_hash"])) == 16


def test_excluded_upstream_is_passed_on_with_the_same_columns(tmp_path: Path) -> None:
    good, bad = tmp_path / "P1.parquet", tmp_path / "P2.parquet"
    radiomics_patient(write_crop(tmp_path / "P1.zarr", ball()), good, DEMO, "stop")
    radiomics_patient(write_crop(tmp_path / "P2.zarr", None, excluded=True), bad, DEMO, "stop")
    assert len(pd.read_parquet(bad)) == 0
    assert pq.read_schema(bad).names == pq.read_schema(good).names
    assert read_metadata(bad)[b"status"] == EXCLUDED


def test_no_contour_gives_no_row_and_is_told(tmp_path: Path) -> None:
    out = tmp_path / "P3.parquet"
    radiomics_patient(write_crop(tmp_path / "P3.zarr", None), out, DEMO, "stop")
    status = read_metadata(out)[b"status"]
    assert len(pd.read_parquet(out)) == 0
    assert status["state"] == "warned" and "no contour" in status["problem"]


def test_an_empty_mask_follows_the_policy(tmp_path: Path) -> None:
    crop = write_crop(tmp_path / "P4.zarr", np.zeros((20, 24, 22), bool))
    out = tmp_path / "P4.parquet"
    with pytest.raises(RadiomicsError, match="patient P4"):
        radiomics_patient(crop, out, DEMO, "stop")
    radiomics_patient(crop, out, DEMO, "exclude")
    assert len(pd.read_parquet(out)) == 0
    assert read_metadata(out)[b"status"]["state"] == "excluded"


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    crop = write_crop(tmp_path / "P5.zarr", ball())
    zarr.open_group(str(crop), mode="r+")["mask"][0, 0, 0] = 1
    with pytest.raises(RadiomicsError, match="checksum"):
        radiomics_patient(crop, tmp_path / "P5.parquet", DEMO, "stop")


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RadiomicsError, match="patient P6"):
        radiomics_patient(tmp_path / "P6.zarr", tmp_path / "P6.parquet", DEMO, "stop")


def test_gather_joins_sorts_and_keeps_statuses(tmp_path: Path) -> None:
    files = []
    for name in ("P2", "P1", "P3"):
        files.append(tmp_path / f"{name}.parquet")
        radiomics_patient(
            write_crop(tmp_path / f"{name}.zarr", ball(), excluded=name == "P3"), files[-1], DEMO, "stop"
        )
    gather_features(files, tmp_path / "features.parquet")
    frame = pd.read_parquet(tmp_path / "features.parquet")
    assert list(frame["patient_id"]) == ["P1", "P2"]
    statuses = read_metadata(tmp_path / "features.parquet")[b"statuses"]
    assert statuses["P3"]["state"] == "excluded" and statuses["P1"]["state"] == "ok"


def test_gather_refuses_mixed_settings(tmp_path: Path) -> None:
    files = [tmp_path / "P1.parquet", tmp_path / "P2.parquet"]
    for path, settings in zip(files, (DEMO, DEMO.model_copy(update={"min_voxels": 9})), strict=True):
        radiomics_patient(write_crop(path.with_suffix(".zarr"), ball()), path, settings, "stop")
    with pytest.raises(TableError, match="different settings"):
        gather_features(files, tmp_path / "features.parquet")


def test_gather_refuses_a_patient_twice(tmp_path: Path) -> None:
    path = tmp_path / "P1.parquet"
    radiomics_patient(write_crop(tmp_path / "P1.zarr", ball()), path, DEMO, "stop")
    with pytest.raises(TableError, match="one patient"):
        gather_features([path, path], tmp_path / "features.parquet")


def test_a_missing_set_names_those_there_are(tmp_path: Path) -> None:
    crop = write_crop(tmp_path / "P1.zarr", ball())
    with pytest.raises(SettingsError, match="deepmts, demo, hecktor, ibsi"):
        radiomics_patient(crop, tmp_path / "P1.parquet", RadiomicsSettings(feature_set="depmts"), "exclude")


def test_an_unknown_feature_is_a_settings_error_not_a_patients(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: wrong\ntexture: {glcm: [Contrastt]}\n"
        "discretisations: {pet: [{bin_width: 1}], ct: [{bin_width: 25}]}\n"
    )
    crop = write_crop(tmp_path / "P1.zarr", ball())
    with pytest.raises(SettingsError, match="Contrastt"):
        settings = RadiomicsSettings(feature_set=str(path))
        radiomics_patient(crop, tmp_path / "P1.parquet", settings, "exclude")
