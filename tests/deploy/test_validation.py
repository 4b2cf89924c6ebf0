"""A bundle judged on patients with outcomes: the report of a study, nothing refitted.

Predictions are made up, so that the truth is known; `tests/deploy/test_validation_of_demo.py` compares a real bundle
with the study it was made from.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines.utils import concordance_index

from pipeline.__main__ import main
from pipeline.deploy import outputs, validation
from pipeline.deploy.bundle_files import Bundle, files_in, write_manifest
from pipeline.deploy.covariate_shift import StageFolders
from pipeline.deploy.estimate import RiskEstimate
from pipeline.deploy.flags import Flag
from pipeline.deploy.manifest import Manifest
from pipeline.deploy.manifest_members import LinearMember
from pipeline.deploy.networks import ComputeOptions
from pipeline.deploy.predict import Prediction
from pipeline.deploy.preprocess import NewPatient
from pipeline.errors import SuvError
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop
from pipeline.tables.status import Status, write_status
from pipeline.volumes.grids import Grid
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Volume
from tests.deploy.synthetic_bundle import FILES, SHAPE, make_fold, make_manifest, make_network
from tests.deploy.test_outputs import INPUTS

PATIENTS, REFUSED = 24, "E007"
HORIZONS = (365.25, 1000.0)
MARGIN = 2


def outcomes() -> pd.DataFrame:
    """Times and events by a hazard that the made-up risks know in part."""
    rng = np.random.default_rng(3)
    hazard = rng.normal(size=PATIENTS)
    died, left = rng.exponential(700 * np.exp(-hazard)) + 1, rng.uniform(300, 2500, PATIENTS)
    return pd.DataFrame(
        {
            "patient_id": [f"E{i:03d}" for i in range(PATIENTS)],
            "image_path": [f"E{i:03d}" for i in range(PATIENTS)],
            "time_days": np.minimum(died, left).round(1),
            "event": (died <= left).astype(int),
            "clinical_age": [50 + i for i in range(PATIENTS)],
            "clinical_stage": ["II", "III", "unknown", "IV"] * (PATIENTS // 4),
            "risk": hazard + rng.normal(size=PATIENTS),
        }
    ).set_index("patient_id")


def write_table(folder: Path, **columns: object) -> Path:
    """The cohort table, without a column `set` unless it is given."""
    table = outcomes().drop(columns="risk").assign(**columns)
    for name in table["image_path"]:
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
    table.drop(columns=[name for name, value in columns.items() if value is None]).to_csv(
        folder / "cohort.csv"
    )
    return folder / "cohort.csv"


def write_bundle(folder: Path, **changes: object) -> Path:
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"content of {name}".encode())
    members = {
        "linear": LinearMember(kind="feature", folds=(make_fold(), make_fold(1.0, 2.0))),
        "network": make_network("deepmts", survival=True),
    }
    values = {"members": members, "model": "both", "source": "nifti", "risk_cuts": (0.25,), **changes}
    write_manifest(folder, make_manifest(files=files_in(folder), **values))
    return folder


def predict_by_table(bundle: Bundle, patient: NewPatient, work: Path, compute: ComputeOptions) -> Prediction:
    """What the stages leave, and a prediction from the table of known risks."""
    name = patient.patient_id
    if name == REFUSED:
        raise SuvError("the body weight is missing", where="(0010,1030) Patient's Weight")
    number = int(name[1:])
    for stage, content in {"convert": None, "suv": {"scanner": "Maker"}, "registration": {}}.items():
        folder = work / stage / name
        folder.mkdir(parents=True)
        if content is not None:
            file = "suv.json" if stage == "suv" else "quality.json"
            (folder / file).write_text(json.dumps(content))
        if stage == "convert":
            grid = Grid((20, 20, 20), (4.0, 4.0, 4.0), (-40.0, -40.0, -40.0))
            write_nifti(folder / "ct_hu.nii.gz", Volume(np.zeros(grid.shape, np.int16), grid))
        write_status(folder, Status("ok", stage))
    stored = tuple(n + 2 * MARGIN for n in SHAPE)
    attributes = CropAttributes(
        name, ("pet", "ct"), ("g/mL", "HU"), (2.0, 2.0, 2.0), origin_mm=(-30.0, -25.0, -20.0), margin=MARGIN
    )
    image = np.random.default_rng(number).normal(1, 1, (2, *stored)).astype(np.float32)
    write_crop(work / "crops" / f"{name}.zarr", Crop(image, None, np.ones(stored, np.uint8), attributes))
    probability = np.zeros(SHAPE, np.float32)
    probability[5:9, 5:9, 5:9] = 0.9
    risk = float(outcomes().loc[name, "risk"])
    survival = dict(zip(HORIZONS, survival_of(risk), strict=True))
    warned = (Flag("warning", "out of domain", "uptake time is 200"),) if number < 4 else ()
    folders = StageFolders(
        work / "convert" / name,
        work / "suv" / name,
        work / "registration" / name,
        work / "crops" / f"{name}.zarr",
    )
    return Prediction(
        patient_id=name,
        estimate=RiskEstimate(risk, 0.1, 50.0, 1 + (risk > 0.25), survival, None, {}, None),
        labels={},
        members={"linear": risk + 0.5, "network": risk - 0.5},
        member_survival={"linear": survival_of(risk), "network": survival_of(risk / 2)},
        probability=probability,
        contour="none",
        covariates={"suvmax": 7.0},
        flags=warned,
        folders=folders,
        inputs={**INPUTS, "given": dict(patient.clinical)},
    )


def survival_of(risk: float) -> tuple[float, ...]:
    return tuple(float(np.exp(-np.exp(risk) * days / 1400)) for days in HORIZONS)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished validation."""
    folder = tmp_path_factory.mktemp("validation")
    bundle, table = write_bundle(folder / "bundle"), write_table(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "predict_patient", predict_by_table)
        patch.setattr(outputs, "planes_png", lambda view: "")  # drawn by tests of single predictions
        call = ["validate", "--bundle", str(bundle), "--cohort", str(table)]
        call += ["--image-root", str(folder / "images"), "--out", str(folder / "out")]
        assert main(call) == 0
    return folder / "out"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_scores_are_of_the_risks_that_the_bundle_gave(out: Path) -> None:
    """Harrell's C as lifelines computes it; the groups by the bundle's cut, and of the bundle's model alone."""
    judged = outcomes().drop(REFUSED)
    expected = concordance_index(judged["time_days"], -judged["risk"], judged["event"])
    scores = {(r["model"], r["metric"]): r for r in rows_of(out / "metrics" / "metrics.csv")}
    for model in ("both", "linear", "network"):
        assert float(scores[model, "c_index"]["value"]) == pytest.approx(expected, abs=1e-9)
        assert scores[model, "c_index"]["set"] == "external" and scores[model, "c_index"]["patients"] == str(
            PATIENTS - 1
        )
    groups = rows_of(out / "metrics" / "risk_groups.csv")
    assert {row["model"] for row in groups} == {"both"}
    assert sum(row["group"] == "2" for row in groups) == int((judged["risk"] > 0.25).sum())
    written = pd.read_csv(out / "predictions.csv").set_index("patient_id")
    assert written["risk"].to_numpy() == pytest.approx(judged["risk"].to_numpy(), abs=1e-12)
    assert list(written["risk_group"]) == [1 + (risk > 0.25) for risk in judged["risk"]]


def test_the_page_is_a_reports_and_says_that_nothing_was_refitted(out: Path) -> None:
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))
    identity = (out.parent / "bundle" / "ID").read_text().strip()
    assert f"External validation: the bundle {identity[:12]} of the study synthetic" in text
    assert "Nothing was refitted" in text and identity in text and "content of MODEL_CARD.md" in text
    assert "The bundle learned from 40 patients (20 events) of the study synthetic" in text
    events = int(outcomes().drop(REFUSED)["event"].sum())
    assert f"and nothing was refitted; judged on {PATIENTS - 1} external patients ({events} events)" in text
    assert f"1 of {PATIENTS} patients were excluded" in text and "the body weight is missing" in text
    assert f"4 of {PATIENTS - 1} patients are unlike those the bundle learned from" in text
    assert "Recalibration, offered and not applied" in text and "For a new patient" in text
    for name in ("kaplan_meier_both", "calibration_both", "decision_curves_both", "concordance", "flow"):
        assert f"figures/{name}.svg" in page
    assert "TRIPOD" not in text and "held it out" not in text and "Learning" not in text


def test_every_link_leads_somewhere(out: Path) -> None:
    pages = [
        out / "report" / "index.html",
        out / "report" / "quality.html",
        out / "report" / "patients" / "E000.html",
    ]
    for page in pages:
        for link in re.findall(r'(?:href|src)="([^"#:]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"
    patient = pages[-1].read_text(encoding="utf-8")
    assert "../../predictions/E000/report.html" in patient and "out of domain: uptake time is 200" in patient
    assert not (out / "predictions" / REFUSED).exists()


def test_words_for_missing_are_unknown_values() -> None:
    """`unknown` of the table is what `clinical_stage=` is to the command that predicts one patient."""
    table = outcomes()
    assert table["clinical_stage"].iloc[2] == "unknown"
    from pipeline.tables.cohort import Cohort, Patient

    patient = Patient(
        "E002", "external", "x", "x", "", 1.0, 1, {"clinical_age": "NA", "clinical_stage": "unknown"}
    )
    other = Patient("E003", "external", "x", "x", "", 1.0, 1, {"clinical_age": "61", "clinical_stage": "IV"})
    given = validation._clinical(make_manifest(), Cohort((patient, other), {}))
    assert given["E002"] == {"clinical_age": "", "clinical_stage": ""}
    assert given["E003"] == {"clinical_age": "61.0", "clinical_stage": "IV"}


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        (
            {"set": ["development", *["external"] * (PATIENTS - 1)]},
            {},
            "names development patients.*development: E000",
        ),
        ({"clinical_age": None}, {}, "lacks clinical columns.*clinical_age.*--take"),
        ({"time_days": None, "event": None}, {}, "no outcomes to judge the bundle by"),
        ({"clinical_age": "old"}, {}, "not a number"),
        ({}, {"members": {"net": make_network()}, "risk_cuts": (), "clinical": ()}, "judged by survival"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_predicted(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: dict[str, object],
    changes: dict[str, object],
    message: str,
) -> None:
    if "members" in changes:
        facts = make_manifest().cohort
        changes = changes | {
            "cohort": facts.model_copy(update={"risk_percentiles": (), "levels": {}}),
            "uses_radiomics": False,
        }
    monkeypatch.setattr(validation, "predict_patient", None)
    bundle, table = write_bundle(tmp_path / "bundle", **changes), write_table(tmp_path, **columns)
    call = [
        "validate",
        "--bundle",
        str(bundle),
        "--cohort",
        str(table),
        "--image-root",
        str(tmp_path / "images"),
    ]
    assert main([*call, "--out", str(tmp_path / "out")]) == 1
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "out").exists()


def test_a_bundle_whose_settings_are_a_studys(tmp_path: Path) -> None:
    """Of each kind that a bundle can hold; a single model has no ensemble."""
    from pipeline.deploy.validation_settings import ValidationTable, cohort_settings, validation_settings

    for kind in ("feature", "lasso_cox", "clinical_cox", "hecktor_cox", "univariate", "signed_bagging"):
        manifest: Manifest = make_manifest(
            members={"linear": LinearMember(kind=kind, folds=(make_fold(), make_fold(1.0, 2.0)))}
        )
        read_by = cohort_settings(manifest, ValidationTable(tmp_path / "t.csv", tmp_path, {}))
        settings = validation_settings(manifest, read_by, "off", "")
        assert settings.ensembles == {} and settings.models["linear"].kind == kind
        assert settings.models["linear"].clinical == ("clinical_age", "clinical_stage")
        assert settings.evaluation.horizons_days == HORIZONS
