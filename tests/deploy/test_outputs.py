"""Files of a prediction: the mask where it belongs, nothing unescaped, valid JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.covariate_shift import StageFolders
from pipeline.deploy.estimate import FoldRange, MemberScores, PatientCurve, RiskEstimate, estimate_risk
from pipeline.deploy.flags import Flag
from pipeline.deploy.outputs import PageOptions, mask_on_image, write_prediction
from pipeline.deploy.predict import Prediction
from pipeline.settings.dicom import ContourSettings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, read_crop, write_crop
from pipeline.volumes.nifti import read_nifti, write_nifti
from pipeline.volumes.volume import Grid, Volume
from tests.deploy.synthetic_bundle import CODE, HOSTILE, IDENTITY, make_manifest

SHAPE, MARGIN = (16, 20, 24), 3
CURVE = PatientCurve(
    np.array([0.0, 500.0, 900.0]), np.array([1.0, 0.7, 0.4]), np.array([[1.0, 0.8, 0.5], [1.0, 0.6, 0.3]])
)
CT = Grid((40, 50, 60), (2.5, 2.0, 2.0), (-60.0, -50.0, -45.0))


INPUTS = {
    "clinical": [
        {"name": "clinical_stage", "given": HOSTILE, "type": "text", "used": HOSTILE},
        {"name": "clinical_age", "given": None, "type": "number", "used": "training median"},
    ],
    "series": [
        {"role": "pet", "modality": "PT", "number": 7, "instances": 91, "shape": [91, 128, 128],
         "spacing_mm": [3.27, 4.0, 4.0], "reason": HOSTILE},
        {"role": "ct", "modality": "CT", "number": None, "instances": None, "shape": [], "spacing_mm": [],
         "reason": "given as NIfTI"},
    ],
    "suv": {
        "normalisation": "bw", "unit": "g/mL", "factor": None, "factors_by_slice": [0.5, 0.25], "units": "BQML",
        "decay_correction": "START", "path": ["decay correction START", HOSTILE], "assumptions": [], "flags": [],
        "uptake_minutes": 61.5, "radionuclide": "F-18", "weight_kg": 82.1, "dose_mbq": None, "suvmax": 9.0,
    },
    "contour": {
        "asked": HOSTILE,
        "rois": [{"image": "ct", "name": HOSTILE, "source": "seg", "matched_by": "name", "voxels": 5,
                  "volume_mask_ml": 3.8062}],
        "volume_ml": {"ct": 3.8062},
    },
    "scan_dates": {},
    "software": {"version": "9.9", "code": CODE, "python": "3.12.1", "libraries": {"numpy": "2.0"}},
}  # fmt: skip


def turn(degrees: float) -> np.ndarray:
    """4×4 from template to patient: a rotation about z and a shift."""
    angle, matrix = np.radians(degrees), np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [5.0, -8.0, 3.0]
    return matrix


@pytest.fixture
def prediction(tmp_path: Path) -> Prediction:
    """A ball of 9 mm at (6, −4, 2) mm of template space, in a turned patient."""
    stored = tuple(n + 2 * MARGIN for n in SHAPE)
    attributes = CropAttributes(
        "p", ("pet", "ct"), ("g/mL", "HU"), (2.0, 2.0, 2.0), origin_mm=(-23.0, -26.0, -18.0),
        transform=tuple(tuple(float(v) for v in row) for row in turn(20)), margin=MARGIN,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    crop = Crop(
        rng.normal(0, 1, (2, *stored)).astype(np.float32), None, np.ones(stored, np.uint8), attributes
    )
    write_crop(tmp_path / "crops" / "p.zarr", crop)
    write_nifti(tmp_path / "convert" / "p" / "ct_hu.nii.gz", Volume(np.zeros(CT.shape, np.int16), CT))
    points = attributes.grid(stored).points(np.argwhere(np.ones(stored, bool)))
    distance = np.linalg.norm(points - [6, -4, 2], axis=1).reshape(stored)
    inner = tuple(slice(MARGIN, n - MARGIN) for n in stored)
    probability = 1 / (1 + np.exp(distance[inner] - 9.0))
    folder = tmp_path
    folders = StageFolders(
        folder / "convert" / "p", folder / "suv" / "p", folder / "r" / "p", folder / "crops/p.zarr"
    )
    return Prediction(
        "p",
        RiskEstimate(
            0.25, 0.1, 56.0, 2, {365.25: 0.7, 1000.0: math.nan}, FoldRange(51.0, 62.0),
            {365.25: FoldRange(0.6, 0.8), 1000.0: FoldRange(math.nan, math.nan)}, CURVE,
        ),
        {HOSTILE: 0.5},
        {"linear": 0.25}, {"linear": (0.7, math.nan)},
        probability.astype(np.float32), "none", {"suvmax": 7.0, HOSTILE: 1.0},
        (Flag("warning", HOSTILE, HOSTILE), Flag("note", "SUV", "half-life assumed")), folders, INPUTS,
    )  # fmt: skip


def test_the_mask_lies_where_the_tumour_is_in_the_patient(prediction: Prediction) -> None:
    manifest = make_manifest(shape=SHAPE)
    volume = mask_on_image(manifest, prediction)
    assert volume.grid.matches(CT)
    mask = volume.array > 0
    centre = (turn(20) @ [6, -4, 2, 1])[:3]
    truth = np.linalg.norm(CT.points(np.argwhere(np.ones(CT.shape, bool))) - centre, axis=1) <= 9
    truth = truth.reshape(CT.shape)
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.95
    assert mask.sum() * CT.voxel_ml() == pytest.approx(4 / 3 * math.pi * 0.9**3, rel=0.05)


def test_a_bundle_of_the_pet_alone_puts_its_mask_on_the_pet(prediction: Prediction, tmp_path: Path) -> None:
    """On a PET with coordinates of its own, 30 mm along x from the scanner's."""
    from pipeline.settings.geometry import CropSettings
    from tests.deploy.synthetic_bundle import make_stage_settings

    pet = Grid((25, 30, 30), (4.0, 4.0, 4.0), (-30.0, -60.0, -50.0))
    write_nifti(
        prediction.folders.convert / "pet_stored.nii.gz", Volume(np.zeros(pet.shape, np.float32), pet)
    )
    (prediction.folders.convert / "ct_hu.nii.gz").unlink()
    crop = read_crop(prediction.folders.crop)
    to_pet = turn(20)
    to_pet[0, 3] += 30.0
    rows = tuple(tuple(float(v) for v in row) for row in to_pet)
    attributes = replace(crop.attributes, channels=("pet",), units=("g/mL",), pet_transform=rows)
    write_crop(prediction.folders.crop, Crop(crop.image[:1], None, crop.inside, attributes))
    stages = make_stage_settings(CropSettings(channels=("pet",), shape=SHAPE, spacing_mm=(2.0, 2.0, 2.0)))
    manifest = make_manifest(shape=SHAPE, channels=("pet",), stages=stages, source="nifti")
    (tmp_path / "MODEL_CARD.md").write_text("card")
    write_prediction(Bundle(tmp_path, manifest, IDENTITY), prediction, tmp_path / "out")
    mask = read_nifti(tmp_path / "out" / "mask_pet.nii.gz")
    assert mask.grid.matches(pet) and not (tmp_path / "out" / "mask_ct.nii.gz").exists()
    centroid = pet.points(np.argwhere(mask.array)).mean(axis=0)
    assert centroid == pytest.approx((to_pet @ [6, -4, 2, 1])[:3], abs=0.5)


def test_classes_are_labels_of_the_mask(prediction: Prediction, tmp_path: Path) -> None:
    """Of the ball the half at x < 6 mm of the template is the first class, the other half the second."""
    attributes, stored = read_crop(prediction.folders.crop).attributes, tuple(n + 2 * MARGIN for n in SHAPE)
    inner = tuple(slice(MARGIN, n - MARGIN) for n in stored)
    x = attributes.grid(stored).points(np.argwhere(np.ones(stored, bool)))[:, 0].reshape(stored)[inner]
    assert prediction.probability is not None
    of_classes = np.stack([prediction.probability * (x < 6), prediction.probability * (x >= 6)])
    classed = replace(prediction, class_probability=of_classes.astype(np.float32))
    stages = make_manifest(shape=SHAPE).stages
    contours = ContourSettings(classes={"gtvp": 1, "gtvn": 2})
    manifest = make_manifest(
        shape=SHAPE, stages=stages.model_copy(update={"contours": contours}), source="nifti"
    )
    (tmp_path / "MODEL_CARD.md").write_text("card")
    write_prediction(Bundle(tmp_path, manifest, IDENTITY), classed, tmp_path / "out")
    mask = read_nifti(tmp_path / "out" / "mask_ct.nii.gz").array
    assert np.array_equal(mask > 0, mask_on_image(manifest, prediction).array > 0)
    points = CT.points(np.argwhere(mask)) - turn(20)[:3, 3]
    in_template = points @ turn(20)[:3, :3]
    clear = np.abs(in_template[:, 0] - 6) > 2.5
    wanted = np.where(in_template[:, 0] < 6, 1, 2)
    assert clear.any() and np.array_equal(mask[mask > 0][clear], wanted[clear])
    content = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert list(content["class_ml"]) == ["gtvp", "gtvn"]
    assert content["class_ml"]["gtvn"] == pytest.approx((mask == 2).sum() * CT.voxel_ml())
    assert "of it gtvn" in (tmp_path / "out" / "report.html").read_text()
    assert sum(content["class_ml"].values()) == pytest.approx(content["mask_ml"])


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_files(prediction: Prediction, tmp_path: Path) -> None:
    manifest = make_manifest(shape=SHAPE, source="nifti")
    (tmp_path / "MODEL_CARD.md").write_text(f"card {HOSTILE}")
    write_prediction(Bundle(tmp_path, manifest, IDENTITY), prediction, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert content["survival"] == {"365.25": 0.7, "1000": None} and content["warnings"] == 1
    assert content["bundle"]["identity"] == IDENTITY
    mask = read_nifti(tmp_path / "out" / "mask_ct.nii.gz")
    assert content["mask_ml"] == pytest.approx(mask.array.sum() * CT.voxel_ml())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "script" not in Reader(page).tags and "{{ 7 * 7 }}" in page and page.count("&lt;script&gt;") >= 5
    # What the folds say apart stands beside every number, and in the file.
    assert "single folds say 51 to 62 %" in page and "0.700 (folds 0.60 to 0.80)" in page
    assert content["percentile_of_folds"] == {"low": 51.0, "high": 62.0}
    assert content["survival_of_folds"]["1000"] == {"low": None, "high": None}
    curve = {"days": [0, 500, 900], "mean": [1, 0.7, 0.4], "low": [1, 0.6, 0.3], "high": [1, 0.8, 0.5]}
    assert content["survival_curve"] == curve
    # Who was asked about, and whether the model may be asked, stand before any number.
    assert page.index("<h2>Who") < page.index("<h2>May the model") < page.index("<h2>Warnings")
    assert content["verdict"]["answer"] == "doubtful" and 'class="verdict doubtful"' in page
    assert "not compared with an expected one" in page
    # A warning stands above the number that it doubts, a note below.
    assert page.index("<h2>Warnings") < page.index("<h2>Prediction") < page.index("<h2>Notes")
    assert "Survival at 1 year<" in page and "Survival at 2.74 years<" in page and " days" not in page
    assert content["survival_times"] == {"365.25": "1 year", "1000": "2.74 years"}
    assert content["inputs"] == INPUTS
    for text in ("91 × 128 × 128", "3.27 × 4 × 4", "by slice, 0.25 to 0.5", "unknown; used: training median",
                 "82.1 kg", "61.5 min", "<td>7</td><td>91</td>", "(seg), 3.81 mL", "Python 3.12.1"):  # fmt: skip
        assert text in page, text
    assert f"<code>{IDENTITY}</code>" in page
    assert "<summary>Model card</summary><pre>card &lt;script&gt;" in page
    assert "not known" in page and "With doubt: 1 warning (" in page
    assert page.count("data:image/png;base64,") == 2, "three planes, and the survival curve"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "mask_ct.nii.gz", "prediction.json", "report.html",
    ]  # fmt: skip


def test_dates_and_the_expected_bundle_stand_where_they_were_asked_for(
    prediction: Prediction, tmp_path: Path
) -> None:
    manifest = make_manifest(shape=SHAPE, source="nifti")
    (tmp_path / "MODEL_CARD.md").write_text("card")
    dated = replace(prediction, inputs={**INPUTS, "scan_dates": {"pet": "2017-08-23"}}, flags=())
    write_prediction(
        Bundle(tmp_path, manifest, IDENTITY), dated, tmp_path / "out", PageOptions(expected=True)
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "; PET of 2017-08-23" in page and "the one that was expected" in page
    assert 'class="verdict yes"' in page and "40 development patients make plausible" in page


def test_without_risk_the_page_shows_masks_and_labels_alone(prediction: Prediction, tmp_path: Path) -> None:
    manifest = make_manifest(source="nifti")
    (tmp_path / "MODEL_CARD.md").write_text("card")
    estimate = estimate_risk(manifest, MemberScores())
    write_prediction(
        Bundle(tmp_path, manifest, IDENTITY),
        replace(prediction, estimate=estimate, members={}),
        tmp_path / "out",
    )
    content = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert content["risk"] is content["spread"] is content["percentile"] is content["risk_group"] is None
    assert content["survival"] == {} and content["labels"] == {HOSTILE: 0.5} and content["mask_ml"] > 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Probability of" in page and "Volume of the predicted mask" in page
    assert not any(word in page for word in ("Risk", "Survival", "risks", "endpoint"))
