"""The page of a study with two class outcomes and no survival model: each outcome has its scores, none is mixed up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.report.job import ReportJob
from pipeline.report.report import build_report
from pipeline.settings.root import load_settings
from pipeline.store.crops import write_excluded
from pipeline.tables.status import Status, write_status
from tests.metrics.evaluated_study import SETTINGS, Study
from tests.report.test_few_events import text_of

MODELS = {"responds": "label_response", "typed": "label_histology"}
EXTERNAL = 40


def make_report(results: Path) -> ReportJob:
    """Two logistic regressions, one of response (two classes) and one of histology (three)."""
    results.mkdir()
    study, rng = Study(results, n=60, external=EXTERNAL), np.random.default_rng(2)
    n = len(study.ids)
    truths = {"label_response": rng.integers(0, 2, n), "label_histology": rng.integers(0, 3, n)}
    study.cohort = study.cohort.assign(**{name: truth.astype(float) for name, truth in truths.items()})
    study.cohort.to_parquet(results / "cohort.parquet")
    (results / "ensemble").mkdir()
    paths = {}
    for model, label in MODELS.items():
        frame = pd.DataFrame(
            {"patient_id": study.ids, "set": study.cohort["set"].to_numpy(), "fold": study.fold}
        )
        classes = truths[label].max() + 1
        chance = rng.dirichlet(np.ones(classes), n) + 0.4 * np.eye(classes)[truths[label]]
        chance /= chance.sum(axis=1, keepdims=True)
        if classes == 2:
            frame[label] = chance[:, 1]
        else:
            frame = frame.assign(**{f"{label}_{k}": chance[:, k] for k in range(classes)})
        paths[model] = results / "ensemble" / f"{model}.parquet"
        frame.to_parquet(paths[model], index=False)
        about = {"members": {model: []}, "folds": [], "warnings": [], "caveats": []}
        paths[model].with_suffix(".json").write_text(json.dumps(about))
    study.run(paths, SETTINGS.model_copy(update={"bootstraps": 100}))
    (results / "plan.json").write_text(json.dumps({"caveats": []}))
    (results / "problems.csv").write_text("patient_id,stage,state,problem,consequence\n")
    for patient_id in study.ids:
        write_excluded(results / "crops" / f"{patient_id}.zarr", Status("excluded", "crop", "none", "out"))
    for folder in (results / "models" / model / f"fold{fold}" for model in MODELS for fold in range(3)):
        folder.mkdir(parents=True)
        (folder / "model.json").write_text("{}")
        write_status(folder, Status("ok", "survival"))
    given = {
        "study": {"name": "labels"},
        "cohort": {"table": "t.csv"},
        "models": {
            "responds": {"kind": "logistic", "label": "label_response"},
            "typed": {"kind": "logistic", "label": "label_histology", "classes": 3},
        },
        "plan": {"folds": 3},
        "registration": {"method": "none"},
    }
    return ReportJob(results, load_settings(given), "0" * 16, tuple(study.ids))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    build_report(make_report(folder / "results"), folder / "report")
    return folder


def test_each_outcome_has_its_scores_and_figures(finished: Path) -> None:
    table = pd.read_csv(finished / "report" / "tables" / "labels.csv", dtype=str, keep_default_na=False)
    rows = table[table["Set"] == "External"].set_index("Model")
    assert list(rows.index) == ["responds", "typed"]
    columns = {"responds": "Response, AUC", "typed": "Histology, AUC"}
    cohort = pd.read_parquet(finished / "results" / "cohort.parquet")
    for model, title in columns.items():
        said = pd.read_parquet(finished / "results" / "ensemble" / f"{model}.parquet").set_index("patient_id")
        said = said[said["set"] == "external"]
        truth = cohort.loc[said.index, MODELS[model]].to_numpy()
        chance = said.filter(like="label_").to_numpy()
        expected = roc_auc_score(truth, chance[:, 0] if chance.shape[1] == 1 else chance, multi_class="ovr")
        assert rows.loc[model, title].startswith(f"{expected:.3f}")
        other = next(name for name in columns if name != model)
        assert rows.loc[other, title] == "–", "a model has no score of an outcome that it does not predict"
    figure = (finished / "report" / "figures" / "roc_classes.svg").read_text(encoding="utf-8")
    assert "External, response" in figure and "External, histology 0" in figure


def test_the_page_says_why_there_is_no_survival(finished: Path) -> None:
    text = text_of((finished / "report" / "index.html").read_text(encoding="utf-8"))
    assert "No model of this study predicts survival: there is no C-index" in text
    assert "Kaplan–Meier curves of" not in text and 'id="verdict"' not in text
    assert "Recalibration" not in text and "needs" not in text.split("Methods, as run")[0]
