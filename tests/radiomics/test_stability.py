"""Agreement under perturbed contours."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.crops import store
from pipeline.crops.attributes import CropAttributes
from pipeline.errors import TableError
from pipeline.radiomics.extract import radiomics_patient
from pipeline.radiomics.gather import gather_features
from pipeline.radiomics.stability import (
    gather_stability,
    intraclass_correlation,
    perturbed,
    stability_patient,
    stable_features,
)
from pipeline.settings.radiomics import RadiomicsSettings

DEMO = RadiomicsSettings(feature_set="demo", perturb_mm=2.0)


def test_icc_of_shrout_and_fleiss() -> None:
    # Shrout & Fleiss 1979, table 2: six targets, four judges; ICC(1,1) = .17 (table 4).
    # Interval of R's psych::ICC on the same data: -0.13 … 0.72.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = intraclass_correlation(ratings)
    assert found.icc == pytest.approx(0.17, abs=0.005)
    assert (found.low, found.high) == pytest.approx((-0.13, 0.72), abs=0.005)


def test_icc_recovers_the_share_of_variance_between_patients() -> None:
    # Variances 4 between and 1 within: 4 / (4 + 1).
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, (4000, 1)) + rng.normal(0, 1, (4000, 3))
    found = intraclass_correlation(values)
    assert found.icc == pytest.approx(0.8, abs=0.02)
    assert found.low < 0.8 < found.high


def test_icc_at_its_ends() -> None:
    assert intraclass_correlation([[1, 1], [2, 2]]).icc == 1
    assert np.isnan(intraclass_correlation([[3, 3], [3, 3]]).icc)
    with pytest.raises(TableError, match="two patients"):
        intraclass_correlation([[1, 2, 3]])


def test_perturbations_by_hand() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[3:6, 3:6, 3:6] = True
    found = dict(perturbed(mask, (1.0, 1.0, 1.0), 1.0))
    assert list(found) == [
        "as drawn", "grown", "shrunk", "moved -z", "moved +z", "moved -y", "moved +y", "moved -x", "moved +x",
    ]  # fmt: skip
    assert found["grown"].sum() == 27 + 6 * 9  # a layer on each face
    assert np.argwhere(found["shrunk"]).tolist() == [[4, 4, 4]]
    assert np.array_equal(found["moved +z"], np.roll(mask, 1, 0))
    assert np.array_equal(found["moved -x"], np.roll(mask, -1, 2))


def test_a_thin_lesion_is_not_shrunk_away() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 1:4, 1:4] = True
    assert "shrunk" not in dict(perturbed(mask, (1.0, 1.0, 1.0), 1.0))


def test_what_leaves_the_image_is_lost() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0] = True
    names = dict(perturbed(mask, (2.0, 2.0, 2.0), 0.5))
    assert "moved -z" not in names and names["moved +z"][1].all()


def cohort(folder: Path, patients: int) -> list[Path]:
    rng = np.random.default_rng(5)
    shape = (16, 20, 18)
    z, y, x = np.indices(shape)
    paths = []
    for number in range(patients):
        radius = 4 + 0.4 * number
        mask = (z - 8) ** 2 + (y - 10) ** 2 + (x - 9) ** 2 <= radius**2
        pet = (1 + number) * 2 + 0.2 * rng.normal(size=shape)
        image = np.stack([pet, rng.normal(40, 20, shape)]).astype(np.float32)
        attributes = CropAttributes(f"P{number}", ("pet", "ct"), ("g/mL", "HU"), (2.0, 2.0, 2.0))
        paths.append(folder / f"P{number}.zarr")
        store.write_crop(
            paths[-1], store.Crop(image, mask.astype(np.uint8), np.ones(shape, np.uint8), attributes)
        )
    return paths


def test_from_crops_to_a_filtered_table(tmp_path: Path) -> None:
    crops = cohort(tmp_path, 5)
    rows, features = [], []
    for crop in crops:
        rows.append(tmp_path / f"{crop.stem}_stability.parquet")
        stability_patient(crop, rows[-1], DEMO)
        features.append(tmp_path / f"{crop.stem}.parquet")
        radiomics_patient(crop, features[-1], DEMO, "stop")
    assert len(pd.read_parquet(rows[0])) == 9
    gather_stability(rows, tmp_path / "stability.csv")
    table = pd.read_csv(tmp_path / "stability.csv").set_index("feature")
    assert (table["patients"] == 5).all()
    # Mean uptake differs by 2 between patients and hardly within; CT is the same noise in all.
    assert table.loc["pet_original_firstorder_Mean", "icc"] > 0.99
    assert table.loc["ct_original_firstorder_Mean", "icc"] < 0.9
    keep = stable_features(tmp_path / "stability.csv", 0.75)
    gather_features(features, tmp_path / "features.parquet", keep)
    columns = set(pd.read_parquet(tmp_path / "features.parquet").columns)
    assert "pet_original_firstorder_Mean" in columns
    assert "ct_original_firstorder_Mean" not in columns
    assert {"patient_id", "pet_index_volume_ml"} <= columns
    assert stable_features(tmp_path / "stability.csv", 0.0)("ct_original_firstorder_Mean")


def test_mixed_settings_are_refused(tmp_path: Path) -> None:
    crops = cohort(tmp_path, 2)
    other = DEMO.model_copy(update={"perturb_mm": 4.0})
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for crop, path, settings in zip(crops, paths, (DEMO, other), strict=True):
        stability_patient(crop, path, settings)
    with pytest.raises(TableError, match="different settings"):
        gather_stability(paths, tmp_path / "stability.csv")
