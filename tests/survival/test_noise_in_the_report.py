"""Noise features of 20 patients: nothing in the report's tables is significant."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.ensemble.ensemble import ensemble
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.report.tables import added_value_on_page, comparisons_on_page
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.settings.models import read_model
from pipeline.survival.model_job import ModelJob
from pipeline.survival.survival import fit_model

MODELS = {
    "clinical": {"kind": "clinical_cox", "clinical": ["clinical_age"]},
    "best": {"kind": "univariate"},
    "lasso": {"kind": "lasso_cox", "inner_folds": 3},
    "hecktor": {"kind": "hecktor_cox", "thresholds": [0.7]},
    "bagged": {"kind": "signed_bagging", "members": 50},
}
SETTINGS = EvaluationSettings(
    horizons_days=(365.25,), bootstraps=300, compare_with="clinical", reference_model="clinical"
)


def evaluated(study) -> Path:
    tables = {}
    for name, spec in MODELS.items():
        model = read_model(spec)
        out = study.folder / "models" / name
        fit_model(ModelJob(name, model, study.features, study.outcomes, study.splits, (365.25,), seed=1), out)
        tables[name] = study.folder / f"{name}.parquet"
        ensemble(
            {name: [out / f"fold{k}" for k in range(3)]}, tables[name], tables[name].with_suffix(".json")
        )
    evaluate(tables, Sources(study.outcomes, study.splits), SETTINGS, 1, study.folder / "metrics")
    return study.folder / "metrics"


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.nightly) for s in (1, 2, 3))])
def test_nothing_is_significant(seed, make_study):
    study = make_study(sizes=(20, 0, 60), strength=0.0, seed=seed, validation=0.25)
    folder = evaluated(study)
    comparisons = pd.read_csv(folder / "comparisons.csv")
    shown = [comparisons_on_page(comparisons), added_value_on_page(comparisons)]
    assert [len(table) for table in shown] == [4, 4]
    for table in shown:
        adjusted = table["p, Holm"][table["p, Holm"] != "–"].str.removeprefix("<").astype(float)
        assert (adjusted > 0.05).all()
    metrics = pd.read_csv(folder / "metrics.csv")
    concordance = metrics[metrics["metric"] == "c_index"]
    assert (concordance["ci_low"] <= 0.5).all() and np.isfinite(concordance["value"]).all()
