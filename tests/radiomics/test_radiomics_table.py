"""The feature table of the cohort."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.radiomics_table import gather_features
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.parquet import read_metadata
from pipeline.tables.status import Status
from tests.radiomics.patient_files import files_of

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


def test_gather_joins_sorts_and_keeps_statuses(tmp_path: Path) -> None:
    files = []
    for name in ("P2", "P1", "P3"):
        files.append(tmp_path / f"{name}.parquet")
        radiomics_patient(
            files_of(write_crop(tmp_path / f"{name}.zarr", ball(), excluded=name == "P3")),
            files[-1],
            DEMO,
            "stop",
        )
    gather_features(files, tmp_path / "features.parquet")
    frame = pd.read_parquet(tmp_path / "features.parquet")
    assert list(frame["patient_id"]) == ["P1", "P2"]
    metadata = read_metadata(tmp_path / "features.parquet")
    statuses = metadata[b"statuses"]
    assert (
        metadata[b"processing"] == read_metadata(files[0])[b"processing"]
        and "grey" in metadata[b"processing"].lower()
    )
    assert statuses["P3"]["state"] == "excluded" and statuses["P1"]["state"] == "ok"


def test_gather_refuses_mixed_settings(tmp_path: Path) -> None:
    files = [tmp_path / "P1.parquet", tmp_path / "P2.parquet"]
    for path, settings in zip(files, (DEMO, DEMO.model_copy(update={"min_voxels": 9})), strict=True):
        radiomics_patient(files_of(write_crop(path.with_suffix(".zarr"), ball())), path, settings, "stop")
    with pytest.raises(TableError, match="different settings"):
        gather_features(files, tmp_path / "features.parquet")


def test_gather_refuses_a_patient_twice(tmp_path: Path) -> None:
    path = tmp_path / "P1.parquet"
    radiomics_patient(files_of(write_crop(tmp_path / "P1.zarr", ball())), path, DEMO, "stop")
    with pytest.raises(TableError, match="one patient"):
        gather_features([path, path], tmp_path / "features.parquet")
