"""The source `nifti`: the same volumes and masks as from DICOM, and refusal of undeclared PET."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pipeline.store.crops import read_crop
from pipeline.volumes.nifti import read_nifti
from study_runner import Study, copy_house, tiny_config, tiny_rows

PATIENTS = ("P001", "P002")


@pytest.fixture(scope="module")
def nifti_study(finished_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    house = copy_house(tmp_path_factory.mktemp("nifti") / "repo")
    made = finished_study.results
    header, *rows = tiny_rows()
    table = [header]
    for patient in PATIENTS:
        folder = house / "images" / patient
        folder.mkdir(parents=True)
        shutil.copyfile(made / "convert" / patient / "ct_hu.nii.gz", folder / "ct.nii.gz")
        shutil.copyfile(made / "suv" / patient / "pet_suvbw.nii.gz", folder / "pet.nii.gz")
        shutil.copyfile(made / "contours" / patient / "gtv_ct.nii.gz", folder / "lesion.nii.gz")
        row = next(r for r in rows if r.startswith(patient)).split(",")
        table.append(",".join([*row[:3], patient, "lesion.nii.gz", *row[5:]]))
    (house / "cohort.csv").write_text("\n".join(table) + "\n")
    config = tiny_config(source="nifti", image_root="images", nifti_pet_quantity="suvbw")
    config["study"]["name"] = "nifti"
    config["registration"] = {"method": "none"}
    config["crop"]["position"] = "lesion"
    return Study(house, config)


def test_volumes_and_masks_are_those_given(nifti_study: Study, finished_study: Study) -> None:
    nifti_study.snakemake("preprocess")
    for patient in PATIENTS:
        for stage, name in (("suv", "pet_suvbw"), ("convert", "ct_hu"), ("contours", "gtv_ct")):
            given = read_nifti(finished_study.results / stage / patient / f"{name}.nii.gz")
            made = read_nifti(nifti_study.results / stage / patient / f"{name}.nii.gz")
            assert np.array_equal(given.array, made.array) and given.grid.matches(made.grid), (patient, name)
        crop = read_crop(nifti_study.results / "crops" / f"{patient}.zarr")
        assert crop.mask is not None and crop.mask.any()


def test_pet_of_undeclared_quantity_is_refused(nifti_study: Study) -> None:
    before = nifti_study.config
    nifti_study.config = {**before, "cohort": {**before["cohort"], "nifti_pet_quantity": "undeclared"}}
    try:
        output = nifti_study.snakemake("results/nifti/convert/P001", check=False)
    finally:
        nifti_study.config = before
    # No patient's fault, so no patient is left out: the study has to say it.
    # Before the first job, and once.
    assert output.count("error: a NIfTI cohort must declare what its PET holds") == 1
    assert "cohort.nifti_pet_quantity" in output and "Traceback" not in output
