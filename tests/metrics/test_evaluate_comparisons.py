"""The job `evaluate`: models compared with one another, and what each adds to a reference."""

import numpy as np
import pytest

from pipeline.errors import ModelError
from tests.metrics.evaluated_study import SETTINGS, Study


def test_comparisons(tmp_path):
    study = Study(tmp_path)
    noise = np.random.default_rng(1).normal(size=len(study.ids))
    models = {
        "noise": study.model("noise", noise),
        "truth": study.model("truth", study.hazard),
        "same": study.model("same", 3 * study.hazard + 1),
    }
    settings = SETTINGS.model_copy(update={"compare_with": "truth"})
    rows = [r for r in study.run(models, settings)["comparisons"] if r["metric"] == "c_index"]
    assert [(r["model_a"], r["set"]) for r in rows] == [
        ("noise", "development"),
        ("same", "development"),
        ("noise", "external"),
        ("same", "external"),
    ]
    assert float(rows[0]["difference"]) < -0.1 and float(rows[0]["ci_high"]) < 0
    assert float(rows[0]["p_value"]) < 0.02 and float(rows[0]["p_holm"]) >= float(rows[0]["p_value"])
    assert float(rows[1]["difference"]) == 0 and float(rows[1]["p_value"]) == 1


def test_an_ensemble_is_compared_with_by_default(tmp_path):
    study = Study(tmp_path)
    models = {
        "one": study.model("one", study.hazard),
        "both": study.model("both", study.hazard, members=("one", "two")),
    }
    assert {r["model_b"] for r in study.run(models)["comparisons"]} == {"both"}
    with pytest.raises(ModelError, match="names 'three'"):
        study.run(models, SETTINGS.model_copy(update={"compare_with": "three"}))


def test_added_value_over_a_model(tmp_path):
    study = Study(tmp_path)
    generator = np.random.default_rng(1)
    weak = study.hazard + 1.5 * generator.normal(size=len(study.ids))
    models = {
        "clinical": study.model("clinical", weak),
        "truth": study.model("truth", study.hazard),
        "noise": study.model("noise", generator.normal(size=len(study.ids))),
        "flat": study.model("flat", np.zeros(len(study.ids))),
        "both": study.model("both", weak + study.hazard, members=("clinical", "truth")),
    }
    tables = study.run(models, SETTINGS.model_copy(update={"reference_model": "clinical"}))["comparisons"]
    rows = {r["model_a"]: r for r in tables if r["metric"] == "added_log_hazard_ratio"
            and r["set"] == "development"}  # fmt: skip
    assert set(rows) == {"truth", "noise", "flat", "both"}
    assert float(rows["truth"]["ci_low"]) > 0 and float(rows["truth"]["p_holm"]) < 1e-3
    assert float(rows["noise"]["p_value"]) > 0.05
    assert rows["flat"]["p_value"] == ""
    assert {r["model_b"] for r in tables if r["metric"] == "c_index"} == {"both", "clinical"}
