"""Agreement under perturbed contours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import RadiomicsError, TableError
from pipeline.metrics.stability import gather_stability
from pipeline.radiomics.perturbations import perturbed
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.stability_patient import stability_patient
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from tests.radiomics.patient_files import files_of

DEMO = RadiomicsSettings(feature_set="demo", perturb_mm=2.0)


def test_perturbations_by_hand() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[3:6, 3:6, 3:6] = True
    masks = dict(perturbed(mask, (1.0, 1.0, 1.0), 1.0))
    assert list(masks) == [
        "as drawn", "grown", "shrunk", "moved -z", "moved +z", "moved -y", "moved +y", "moved -x", "moved +x",
    ]  # fmt: skip
    assert masks["grown"].sum() == 27 + 6 * 9  # a layer on each face
    assert np.argwhere(masks["shrunk"]).tolist() == [[4, 4, 4]]
    assert np.array_equal(masks["moved +z"], np.roll(mask, 1, 0))
    assert np.array_equal(masks["moved -x"], np.roll(mask, -1, 2))


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


def test_rows_are_features_of_the_perturbed_contours(tmp_path: Path) -> None:
    (path,) = cohort(tmp_path, 1)
    out = tmp_path / "rows.parquet"
    stability_patient(files_of(path), out, DEMO, "stop")
    rows = pd.read_parquet(out).set_index("perturbation")
    drawn = store.read_crop(path)
    masks = dict(perturbed(drawn.mask > 0, (2.0, 2.0, 2.0), 2.0))
    assert list(rows.index) == list(masks) and len(rows) == 9
    for name in ("as drawn", "grown", "moved -y"):
        crop = tmp_path / "moved" / "P0.zarr"
        store.write_crop(crop, replace(drawn, mask=masks[name].astype(np.uint8)))
        radiomics_patient(files_of(crop), tmp_path / "expected.parquet", DEMO, "stop")
        expected = pd.read_parquet(tmp_path / "expected.parquet").iloc[0]
        assert rows.loc[name, list(expected.index)].equals(expected), name


@pytest.mark.parametrize(("voxel_mm", "rows"), [(5.0, 8), (9.0, None)])
def test_a_contour_that_vanishes_on_the_sets_grid(tmp_path: Path, voxel_mm: float, rows: int | None) -> None:
    """8 mm a side: at 5 mm only the shrunk contour falls between voxel centres, at 9 mm the drawn one."""
    (path,) = cohort(tmp_path, 1)
    coarse = tmp_path / "coarse.yaml"
    coarse.write_text(
        f"title: coarse\nresample_mm: {voxel_mm}\nfirstorder: [Mean]\n"
        "discretisations: {pet: [{bin_width: 0.5}], ct: [{bin_width: 25}]}\n"
    )
    drawn = store.read_crop(path)
    small = np.zeros_like(drawn.mask)
    small[6:10, 8:12, 7:11] = 1
    store.write_crop(path, replace(drawn, mask=small))
    out, settings = tmp_path / "rows.parquet", RadiomicsSettings(feature_set=str(coarse), perturb_mm=2.0)
    if rows is None:
        with pytest.raises(RadiomicsError, match="vanishes"):
            stability_patient(files_of(path), out, settings, "stop")
        return
    stability_patient(files_of(path), out, settings, "stop")
    names = set(pd.read_parquet(out)["perturbation"])
    assert len(names) == rows and "shrunk" not in names and "as drawn" in names


def test_patients_that_cannot_be_extracted_follow_the_policy(tmp_path: Path) -> None:
    (path,) = cohort(tmp_path, 1)
    drawn = store.read_crop(path)
    store.write_crop(path, replace(drawn, mask=np.zeros_like(drawn.mask)))
    out = tmp_path / "rows.parquet"
    with pytest.raises(RadiomicsError, match="patient"):
        stability_patient(files_of(path), out, DEMO, "stop")
    stability_patient(files_of(path), out, DEMO, "exclude")
    assert len(pd.read_parquet(out)) == 0
    store.write_crop(path, replace(drawn, mask=None))
    stability_patient(files_of(path), out, DEMO, "stop")
    assert len(pd.read_parquet(out)) == 0


def test_from_crops_to_agreement(tmp_path: Path) -> None:
    rows = []
    for crop in cohort(tmp_path, 5):
        rows.append(tmp_path / f"{crop.stem}_stability.parquet")
        stability_patient(files_of(crop), rows[-1], DEMO, "stop")
    values, summary = tmp_path / "stability.parquet", tmp_path / "stability.csv"
    gather_stability(rows, [f"P{i}" for i in range(4)], values, summary)
    assert len(pd.read_parquet(values)) == 45
    table = pd.read_csv(summary).set_index("feature")
    assert (table["patients"] == 4).all()
    # Mean uptake differs by 2 between patients and hardly within; CT is the same noise in all.
    assert table.loc["pet_original_firstorder_Mean", "icc"] > 0.99
    assert table.loc["ct_original_firstorder_Mean", "icc"] < 0.9
    assert 0 < table.loc["pet_index_volume_ml", "icc"] < 1


def test_mixed_settings_are_refused(tmp_path: Path) -> None:
    crops = cohort(tmp_path, 2)
    other = DEMO.model_copy(update={"perturb_mm": 4.0})
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for crop, path, settings in zip(crops, paths, (DEMO, other), strict=True):
        stability_patient(files_of(crop), path, settings, "stop")
    with pytest.raises(TableError, match="different settings"):
        gather_stability(paths, ["P0", "P1"], tmp_path / "stability.parquet", tmp_path / "stability.csv")
