"""PET of each scanner smoothed to a common recovery."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.native_pet import FeatureSources
from pipeline.radiomics.pet_harmonisation import smoothed
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.status import Status, write_status
from tests.radiomics.patient_files import files_of

SPACING = (3.0, 2.0, 1.5)
SHAPE = (31, 41, 51)


def blob(sd_mm: float) -> np.ndarray:
    """A Gaussian of amplitude 10 g/mL."""
    squared = sum(
        ((i - (n - 1) / 2) * s) ** 2 for i, n, s in zip(np.indices(SHAPE), SHAPE, SPACING, strict=True)
    )
    return (10 * np.exp(-squared / (2 * sd_mm**2))).astype(np.float32)


def test_a_gaussian_becomes_the_gaussian_that_theory_says() -> None:
    """SD² adds up, and the amplitude falls by (SD² / (SD² + σ²)) to the power of 1.5."""
    everywhere = np.ones(SHAPE, bool)
    sd, fwhm = 8.0, 10.0
    sigma = fwhm / (2 * np.sqrt(2 * np.log(2)))
    result = smoothed(FeatureImage(blob(sd), everywhere, everywhere, SPACING), fwhm).values
    assert result.max() == pytest.approx(10 * (sd**2 / (sd**2 + sigma**2)) ** 1.5, rel=1e-3)
    assert result.sum() == pytest.approx(blob(sd).sum(), rel=1e-3)


def test_padding_does_not_weigh_in() -> None:
    values, inside = np.full(SHAPE, 4.0, np.float32), np.ones(SHAPE, bool)
    values[:, :, :20], inside[:, :, :20] = 0, False
    result = smoothed(FeatureImage(values, inside, inside, SPACING), 8.0).values
    assert result[inside] == pytest.approx(4) and (result[~inside] == 0).all()


@pytest.fixture
def sources(tmp_path: Path) -> FeatureSources:
    mask = (blob(8.0) > 4).astype(np.uint8)
    image = np.stack([blob(8.0), blob(8.0) * 10])
    attributes = CropAttributes("P1", ("pet", "ct"), ("g/mL", "HU"), SPACING)
    store.write_crop(tmp_path / "P1.zarr", store.Crop(image, mask, np.ones(SHAPE, np.uint8), attributes))
    files = files_of(tmp_path / "P1.zarr")
    (files.suv / "suv.json").write_text(json.dumps({"scanner": "GE Discovery ST"}))
    write_status(files.suv, Status("ok", "suv"))
    return files


def extracted(sources: FeatureSources, out: Path, **fwhm_mm: float) -> pd.Series:
    widths = {name.replace("_", " "): width for name, width in fwhm_mm.items()}
    settings = RadiomicsSettings(feature_set="demo", pet_fwhm_mm=widths)
    radiomics_patient(sources, out, settings, "stop")
    return pd.read_parquet(out).iloc[0]


def test_features_and_metrics_see_the_smoothed_pet_and_the_ct_stays(
    sources: FeatureSources, tmp_path: Path
) -> None:
    out = tmp_path / "row.parquet"
    plain, smooth = extracted(sources, out), extracted(sources, out, GE_Discovery_ST=10.0)
    expected = 10 * (64 / (64 + (10 / 2.354820045) ** 2)) ** 1.5
    assert plain["pet_index_suvmax"] == pytest.approx(10)
    for name in ("pet_index_suvmax", "pet_original_firstorder_Maximum"):
        assert smooth[name] == pytest.approx(expected, rel=1e-3)
    assert smooth["ct_original_firstorder_Maximum"] == plain["ct_original_firstorder_Maximum"]
    untouched = extracted(sources, out, GE_Discovery_ST=0.0, Siemens_Biograph=7.0)
    pd.testing.assert_series_equal(untouched, plain)


def test_a_scanner_without_a_width_is_refused(sources: FeatureSources, tmp_path: Path) -> None:
    with pytest.raises(RadiomicsError, match="GE Discovery ST"):
        extracted(sources, tmp_path / "row.parquet", Siemens_Biograph=7.0)
    settings = RadiomicsSettings(feature_set="demo", pet_fwhm_mm={"*": 4.0})
    radiomics_patient(sources, tmp_path / "row.parquet", settings, "stop")
    assert pd.read_parquet(tmp_path / "row.parquet").loc[0, "pet_index_suvmax"] < 10
    with pytest.raises(ValueError, match="between 0 and 20 mm"):
        RadiomicsSettings(pet_fwhm_mm={"*": -1.0})
