"""Features of each class of the mask are those of a patient who has that class alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from pipeline.radiomics.native_pet import FeatureSources
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.sources import read_predicted
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.parquet import read_metadata
from tests.radiomics.patient_files import files_of

CLASSES = ("gtvp", "gtvn")
DEMO = RadiomicsSettings(feature_set="demo")
PER_CLASS = RadiomicsSettings(feature_set="demo", per_class=CLASSES)
SHAPE = (20, 24, 22)


def labels(node: bool = True) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    mask = ((z - 8) ** 2 + (y - 9) ** 2 + (x - 9) ** 2 <= 16).astype(np.uint8)
    if node:
        mask[(z - 14) ** 2 + (y - 17) ** 2 + (x - 15) ** 2 <= 9] = 2
    return mask


def sources(folder: Path, mask: np.ndarray) -> FeatureSources:
    rng = np.random.default_rng(1)
    image = np.stack([rng.gamma(4, 1.5, SHAPE), rng.normal(40, 30, SHAPE)]).astype(np.float32)
    about = CropAttributes("P", ("pet", "ct"), ("g/mL", "HU"), (3.0, 2.0, 2.0), classes=CLASSES)
    store.write_crop(folder / "P.zarr", store.Crop(image, mask, np.ones(SHAPE, np.uint8), about))
    return files_of(folder / "P.zarr")


def features(files: FeatureSources, out: Path, settings: RadiomicsSettings = DEMO) -> pd.Series:
    radiomics_patient(files, out, settings, "stop")
    return pd.read_parquet(out).iloc[0].drop("patient_id").astype(float)


@pytest.mark.parametrize("images", ["crop", "native"])
def test_each_class_is_as_it_would_be_alone(tmp_path, images):
    settings = PER_CLASS.model_copy(update={"images": images})
    plain = DEMO.model_copy(update={"images": images})

    def of(name, mask, chosen):
        files = sources(tmp_path / name, mask)
        files = files if images == "crop" else replace(files, crop=None)
        return features(files, tmp_path / f"{name}.parquet", chosen)

    mask = labels()
    row = of("classed", mask, settings)
    parts = {"": mask > 0, "gtvp_": mask == 1, "gtvn_": mask == 2}
    for number, (prefix, part) in enumerate(parts.items()):
        alone = of(f"alone{number}", part.astype(np.uint8), plain)
        assert np.allclose(row[[prefix + name for name in alone.index]], alone, rtol=1e-9, equal_nan=True)
    assert (row["gtvp_present"], row["gtvn_present"]) == (1, 1)
    # By hand: voxels of 12 mm³.
    volume = "pet_index_volume_ml"
    assert row[f"gtvn_{volume}"] == pytest.approx((mask == 2).sum() * 0.012)
    assert row[volume] == pytest.approx(row[f"gtvp_{volume}"] + row[f"gtvn_{volume}"])


def test_an_absent_class_has_the_same_columns_and_no_values(tmp_path):
    row = features(sources(tmp_path / "a", labels(node=False)), tmp_path / "a.parquet", PER_CLASS)
    both = features(sources(tmp_path / "b", labels()), tmp_path / "b.parquet", PER_CLASS)
    assert list(row.index) == list(both.index)
    assert row["gtvn_present"] == 0 and row["gtvp_present"] == 1
    assert row[[c for c in row.index if c.startswith("gtvn_") and c != "gtvn_present"]].isna().all()
    assert row.filter(like="gtvp_").notna().any()
    assert read_metadata(tmp_path / "a.parquet")[b"status"]["state"] == "ok"


def test_a_predicted_class_is_the_lesion_where_it_is_asked_for(tmp_path):
    files = sources(tmp_path / "p", labels())
    predicted = zarr.open_group(str(tmp_path / "masks.zarr"), mode="w")
    wanted = np.roll(labels(), 1, axis=0)
    predicted.create_array("P", shape=SHAPE, dtype="uint8")[:] = wanted
    for label in (0, 1, 2):
        patient = read_predicted(replace(files, label=label), tmp_path / "masks.zarr")
        expected = wanted == label if label else wanted > 0
        assert np.array_equal(patient.images["pet"].mask, expected)
        assert np.array_equal(patient.pet.image.mask, expected)
