"""A bundle gives a patient the prediction that the study gave, and names nobody."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.dicom.contours.seg_masks import segment_masks
from pipeline.phantoms.headers import PLANTED
from pipeline.tables.cohort import Patient
from pipeline.volumes.nifti import read_nifti
from study_runner import Study


def predict(study: Study, patient: str, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line from the house, as a user would."""
    row = pd.read_parquet(study.results / "cohort.parquet").loc[patient]
    return subprocess.run(
        [
            sys.executable, "-m", "pipeline", "predict", "--bundle", str(study.results / "bundle"),
            "--images", str(study.results / "phantom" / patient / "dicom"), "--out", str(out),
            "--clinical", f"clinical_performance={row['clinical_performance']}", *more,
        ],
        cwd=study.house, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def external(finished_study: Study) -> str:
    """Packs the finished study; returns an external patient's id."""
    finished_study.snakemake("bundle")
    table = pd.read_parquet(finished_study.results / "ensemble" / "both.parquet")
    return str(table.loc[table["set"] == "external", "patient_id"].iloc[0])


@pytest.fixture(scope="session")
def prediction(finished_study: Study, external: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patient, predicted from DICOM with the contour that the study had."""
    out = tmp_path_factory.mktemp("prediction") / "out"
    done = predict(finished_study, external, out, "--roi", "study", "--name", "someone")
    assert done.returncode == 0, done.stderr
    return out


ROUNDED = 1e-3
"""Of a network's Z: convolutions of one patient round otherwise than those of a batch (seen: 2e-5; in bf16
the log-hazard by 1e-4, which after four iterations is 0.01 of an SD)."""


def test_the_risk_is_the_studys(finished_study: Study, external: str, prediction: Path) -> None:
    table = pd.read_parquet(finished_study.results / "ensemble" / "both.parquet").set_index("patient_id")
    predicted = json.loads((prediction / "prediction.json").read_text())
    expected = table.loc[external]
    assert predicted["risk"] == pytest.approx(expected["risk"], abs=ROUNDED)
    assert predicted["spread"] == pytest.approx(expected["spread"], abs=ROUNDED)
    for column in (c for c in table.columns if c.startswith("survival_")):
        value = predicted["survival"][column.removeprefix("survival_").removesuffix("d")]
        same = value == pytest.approx(expected[column], abs=ROUNDED)
        assert same or (value is None and np.isnan(expected[column])), column


def test_members_are_the_studys_too(finished_study: Study, external: str, prediction: Path) -> None:
    predicted = json.loads((prediction / "prediction.json").read_text())
    for member in ("deepmts", "lasso", "volume"):
        table = pd.read_parquet(finished_study.results / "ensemble" / f"{member}.parquet")
        expected = table.set_index("patient_id").loc[external, "risk"]
        limit = ROUNDED if member == "deepmts" else 1e-5
        assert predicted["members"][member] == pytest.approx(expected, abs=limit)


def test_nobody_is_named(finished_study: Study, prediction: Path) -> None:
    uid = re.compile(rb"\b[0-2]\.\d+(?:\.\d+){6,}\b")
    bundle = finished_study.results / "bundle"
    ids = {p.patient_id for p in everybody(finished_study)}
    for path in [*prediction.iterdir(), *(p for p in bundle.rglob("*") if p.is_file())]:
        content = path.read_bytes()
        values = PLANTED.values() if isinstance(PLANTED, dict) else PLANTED
        assert not [value for value in values if str(value).encode() in content], path
        if path.suffix in (".json", ".html", ".yaml", ".sha256"):
            assert not uid.search(content) and not [i for i in ids if i.encode() in content], path
            assert str(finished_study.house).encode() not in content, path


def everybody(study: Study) -> list[Patient]:
    from pipeline.settings.root import load_settings
    from pipeline.tables.cohort import read_cohort

    settings = load_settings(study.config).cohort
    table = settings.model_copy(update={"table": str(study.house / settings.table)})
    return list(read_cohort(table, "exclude").patients)


def test_the_segmentation_is_the_mask(prediction: Path) -> None:
    from pydicom import dcmread

    mask = read_nifti(prediction / "mask_ct.nii.gz")
    assert mask.array.any(), "a mask without voxels tests nothing"
    seg = dcmread(prediction / "mask_ct_seg.dcm")
    assert np.array_equal(segment_masks(seg, [1], mask.grid)[1].mask, mask.array > 0)


def test_a_zip_with_kept_relative_work_is_predicted_alike(
    finished_study: Study, external: str, prediction: Path, tmp_path: Path
) -> None:
    """Members of archives are unpacked below the folder that `--keep-work` names from where one stands."""
    images = tmp_path / "images"
    images.mkdir()
    shutil.make_archive(str(images / "scan"), "zip", finished_study.results / "phantom" / external / "dicom")
    kept = finished_study.house / "kept_work"
    out = tmp_path / "out"
    try:
        done = predict(
            finished_study, external, out, "--roi", "study", "--images", str(images), "--keep-work", kept.name
        )
        assert done.returncode == 0, done.stderr
        assert any((kept / "index").rglob("unpacked"))
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    expected = json.loads((prediction / "prediction.json").read_text())
    assert json.loads((out / "prediction.json").read_text())["risk"] == expected["risk"]


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_bundle_without_contour_draws_its_own(finished_study: Study, external: str, tmp_path: Path) -> None:
    done = predict(finished_study, external, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    predicted = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert predicted["contour"] == "predicted" and predicted["patient_id"] == "patient"
    assert any("predicted contour" in flag["text"] for flag in predicted["flags"])
