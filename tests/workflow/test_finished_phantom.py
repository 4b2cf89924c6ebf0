"""The finished demo against its truth: SUV, masks, transforms, Dice, concordance.

Reads `results/phantom` of this checkout (made by `make demo`); every figure is printed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.volumes.nifti import read_nifti

RESULTS = Path(__file__).resolve().parents[2] / "results" / "phantom"
pytestmark = [
    pytest.mark.finished,
    pytest.mark.skipif(
        not (RESULTS / "report" / "index.html").exists(), reason="no finished demo: run make demo"
    ),
]


def patients() -> list[str]:
    return sorted(p.parents[1].name for p in RESULTS.glob("phantom/*/truth/truth.json"))


def truth(patient: str) -> dict:
    return json.loads((RESULTS / "phantom" / patient / "truth" / "truth.json").read_text())


def test_suv_within_1e5_relative(record_property, capsys) -> None:
    worst = 0.0
    for patient in patients():
        made = read_nifti(RESULTS / "suv" / patient / "pet_suvbw.nii.gz").array
        true = read_nifti(RESULTS / "phantom" / patient / "truth" / "pet_suvbw.nii.gz").array
        inside = true >= 1.0
        worst = max(worst, float((np.abs(made[inside] - true[inside]) / true[inside]).max()))
    tell(capsys, f"SUV, largest relative error at voxels >= 1 g/mL: {worst:.2e}")
    assert worst <= 1e-5


def test_masks_reach_dice_097(capsys) -> None:
    scores = []
    for patient in patients():
        made = read_nifti(RESULTS / "contours" / patient / "gtv_ct.nii.gz").array > 0
        true = read_nifti(RESULTS / "phantom" / patient / "truth" / "mask_ct.nii.gz").array > 0
        scores.append(2 * (made & true).sum() / (made.sum() + true.sum()))
    tell(
        capsys,
        f"masks against the analytic shape: Dice min {min(scores):.4f}, median {np.median(scores):.4f}",
    )
    assert min(scores) >= 0.97


def rigid_errors() -> pd.DataFrame:
    import SimpleITK as sitk

    template = json.loads((RESULTS / "template" / "template.json").read_text())["patient_id"]
    to_template = np.linalg.inv(np.array(truth(template)["rigid"]))
    rows = []
    for patient in patients():
        transform = sitk.ReadTransform(str(RESULTS / "registration" / patient / "to_template.mat"))
        true = np.array(truth(patient)["rigid"]) @ to_template
        # The lesion's place in template space, and points around it, mapped by both.
        lesion = (
            np.linalg.inv(true)
            @ np.array(truth(patient)["rigid"])
            @ [*truth(patient)["tumour"]["centre_mm"], 1]
        )
        axes = np.eye(3) * 50
        points = [lesion[:3], *(lesion[:3] + a for a in axes)]
        made = np.array([transform.TransformPoint([float(v) for v in p]) for p in points])
        right = np.array([(true @ [*p, 1])[:3] for p in points])
        turn = ((made[1:] - made[0]) / 50) @ np.linalg.inv((right[1:] - right[0]) / 50)
        angle = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
        rows.append({"patient": patient, "degrees": angle, "mm": float(np.linalg.norm(made[0] - right[0]))})
    return pd.DataFrame(rows)


def test_rigid_transforms(capsys) -> None:
    """Within 1 degree and one working voxel (4 mm)."""
    errors = rigid_errors()
    tell(
        capsys,
        f"rigid: rotation error max {errors['degrees'].max():.2f} deg, median {errors['degrees'].median():.2f}; at "
        f"the lesion max {errors['mm'].max():.2f} mm, median {errors['mm'].median():.2f} mm",
    )
    assert errors["degrees"].max() <= 1.0
    assert errors["mm"].max() <= 4.0


def metric(model: str, which: str, name: str) -> pd.Series:
    table = pd.read_csv(RESULTS / "metrics" / "metrics.csv")
    return table[(table["model"] == model) & (table["set"] == which) & (table["metric"] == name)].iloc[0]


def test_external_dice(capsys) -> None:
    row = metric("deepmts", "external", "dice")
    tell(
        capsys, f"external Dice of deepmts: {row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})"
    )
    assert row["value"] >= 0.75


def test_external_concordance(capsys) -> None:
    for model in ("ensemble", "deepmts", "radiomics_lasso", "clinical", "volume", "true_hazard"):
        row = metric(model, "external", "c_index")
        tell(
            capsys,
            f"external C-index of {model}: {row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f}), "
            f"{row['patients']:.0f} patients, {row['events']:.0f} events",
        )
    assert metric("ensemble", "external", "c_index")["events"] >= 24
    assert metric("ensemble", "external", "c_index")["ci_low"] > 0.5


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n  {text}", end="")
