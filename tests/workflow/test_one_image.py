"""Cohorts of PET alone and of CT alone, from DICOM to report, bundle and a new patient's prediction."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.crops.crop import CropSources, crop_patient
from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.phantoms.phantom import write_patient
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.sources import sources_of
from pipeline.registration.register import RegistrationSources, register_patient
from pipeline.settings.phantom import PhantomSettings
from pipeline.settings.root import load_settings
from pipeline.store.crops import read_crop
from pipeline.tables.files import PatientFiles
from pipeline.volumes.nifti import read_nifti
from study_runner import Study, copy_house, tiny_config, tiny_rows

UNITS = {"pet": "g/mL", "ct": "HU"}


def config_of(image: str) -> dict:
    """The tiny study with one image in its folders, its crops, its features and its networks."""
    config = tiny_config()
    config["phantom"] = {"images": [image], "ct_shape": [40, 56, 56], "ct_spacing_mm": [6.0, 5.0, 5.0]}
    config["index"] = {"modalities": [image]}
    config["contours"] = {"crop_mask": image}
    config["registration"] = {"method": "none"}
    config["crop"] = {
        "shape": [24, 32, 32],
        "spacing_mm": [6.0, 6.0, 6.0],
        "position": "lesion",
        "channels": [image],
    }
    config["radiomics"] = {"feature_set": "demo", "modalities": [image]}
    config["models"]["volume"]["feature"] = f"{image}_original_shape_MeshVolume"
    config["explain"] = {"models": ["deepmts"], "patients": 1, "methods": ["grad_cam"], "sanity_steps": 1}
    return config


@pytest.fixture(scope="module", params=["pet", "ct"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study(copy_house(tmp_path_factory.mktemp(request.param) / "repo"), config_of(request.param))
    (made.house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    made.snakemake("all", "explain", "bundle")
    return made


@pytest.mark.nightly  # a minute for each of the two images
def test_one_image_goes_through_every_stage(study: Study, tmp_path: Path) -> None:
    (image,) = study.config["crop"]["channels"]
    crop = read_crop(study.results / "crops" / "P001.zarr")
    assert (crop.attributes.channels, crop.attributes.units) == ((image,), (UNITS[image],))
    assert crop.image.shape[0] == 1 and crop.mask is not None and crop.mask.any()
    problems = (study.results / "problems.csv").read_text().splitlines()
    assert not [row for row in problems if ",excluded," in row]
    columns = set(pd.read_parquet(study.results / "radiomics" / "features.parquet").dropna(axis=1, how="all"))
    prefixes = {name.split("_")[0] for name in columns - {"patient_id"}}
    assert prefixes == {image, "pet"}  # PET metrics are `pet_index_…`
    assert ("pet_index_suvmax" in columns) == (image == "pet")
    page = (study.results / "report" / "index.html").read_text()
    assert "DeepMTS".lower() in page.lower()
    about = json.loads((study.results / "explain" / "deepmts" / "explain.json").read_text())
    assert about["target"] == "risk"
    predict_like_the_study(study, image, tmp_path / "out")


SETTINGS = PhantomSettings(ct_shape=(40, 56, 56), ct_spacing_mm=(6.0, 5.0, 5.0))


@pytest.mark.parametrize("image", ["pet", "ct"])
def test_a_patient_of_one_image_from_dicom_to_features(image: str, tmp_path: Path) -> None:
    """The stages before training, as the rules call them; the features are those of a patient with both."""
    alone = features_of(tmp_path / "alone", image, SETTINGS.model_copy(update={"images": (image,)}))
    assert alone.notna().all(axis=None) if image == "pet" else alone.filter(like="ct_").notna().all(axis=None)
    if image == "ct":
        both = features_of(tmp_path / "both", image, SETTINGS)
        pd.testing.assert_frame_equal(alone, both)


def features_of(folder: Path, image: str, phantom: PhantomSettings) -> pd.DataFrame:
    settings = load_settings({**config_of(image), "cohort": {"table": "x.csv"}, "phantom": None})
    write_patient("P001", phantom, folder / "made")
    names = ("index", "convert", "suv", "contours", "registration")
    index, convert, suv, contours, registration = (folder / name / "P001" for name in names)
    patient = PatientFiles("P001", folder / "made" / "dicom")
    index_patient(patient, settings.index, index, "stop")
    convert_patient(index, convert, settings.convert, "stop")
    suv_patient(convert, suv, settings.suv, "stop", needed="pet" in settings.crop.channels)
    drawn = ContourSources("P001", index, convert, suv, folder=patient.folder)
    contours_patient(drawn, contours, settings.contours, "stop")
    register_patient(RegistrationSources("P001", convert), registration, settings.registration, "stop")
    crop = folder / "P001.zarr"
    sources = CropSources("P001", convert, suv, contours, registration)
    crop_patient(sources, crop, settings.crop, "stop", settings.contours.crop_mask)
    assert read_crop(crop).attributes.channels == (image,)
    out = folder / "features.parquet"
    radiomics_patient(sources_of("P001", [convert, suv, contours], [crop]), out, settings.radiomics, "stop")
    return pd.read_parquet(out)


def predict_like_the_study(study: Study, image: str, out: Path) -> None:
    table = pd.read_parquet(study.results / "ensemble" / "both.parquet").set_index("patient_id")
    patient = str(table.index[table["set"] == "external"][0])
    row = pd.read_parquet(study.results / "cohort.parquet").loc[patient]
    done = subprocess.run(
        [
            sys.executable, "-m", "pipeline", "predict", "--bundle", str(study.results / "bundle"),
            "--images", str(study.results / "phantom" / patient / "dicom"), "--out", str(out),
            "--clinical", f"clinical_performance={row['clinical_performance']}", "--roi", "study",
        ],
        cwd=study.house, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    predicted = json.loads((out / "prediction.json").read_text())
    assert predicted["risk"] == pytest.approx(table.loc[patient, "risk"], abs=1e-3)
    assert {series["role"] for series in predicted["inputs"]["series"]} >= {image}
    mask = read_nifti(out / f"mask_{image}.nii.gz")
    native = "ct_hu.nii.gz" if image == "ct" else "pet_stored.nii.gz"
    assert mask.grid.matches(read_nifti(study.results / "convert" / patient / native).grid)
    assert (out / f"mask_{image}_seg.dcm").is_file() == bool(np.any(mask.array))
