"""Repeats, optimism and importance of a classical model reach the tables."""

import json

import numpy as np
import pytest

from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from tests.metrics.evaluated_study import SETTINGS, Study, value

PLAIN = {
    "metric": "c_index",
    "repeats": [],
    "optimism": None,
    "importance": [],
    "permutations": 0,
    "reason": "",
}


def tables(tmp_path, validation):
    study = Study(tmp_path)
    path = tmp_path / "validation.json"
    path.write_text(json.dumps({**PLAIN, **validation}))
    sources = Sources(tmp_path / "cohort.parquet", tmp_path / "splits.json", validations={"truth": path})
    evaluate({"truth": study.model("truth", study.hazard)}, sources, SETTINGS, 5, tmp_path / "metrics")
    import csv

    read = {}
    for name in ("metrics", "importance"):
        with (tmp_path / "metrics" / f"{name}.csv").open() as stream:
            read[name] = list(csv.DictReader(stream))
    return read


def test_spread_optimism_and_importance_by_hand(tmp_path):
    optimism = {"apparent": 0.8, "optimism": 0.05, "resamples": 99, "asked": 100}
    importance = [{"column": "pet_f0", "drop": 0.2, "sd": 0.03}]
    read = tables(
        tmp_path, {"repeats": [0.6, 0.7], "optimism": optimism, "importance": importance, "permutations": 9}
    )
    rows = read["metrics"]
    first = value(rows, "c_index")
    assert value(rows, "c_index_repeats_mean") == pytest.approx(np.mean([first, 0.6, 0.7]))
    assert value(rows, "c_index_repeats_sd") == pytest.approx(np.std([first, 0.6, 0.7], ddof=1))
    assert value(rows, "c_index_optimism_corrected") == pytest.approx(0.75)
    (note,) = [r["note"] for r in rows if r["metric"] == "c_index_optimism"]
    assert "99 of 100 resamples" in note
    assert [r["set"] for r in rows if r["metric"].startswith("c_index_repeats")] == ["development"] * 2
    (row,) = read["importance"]
    assert (row["column"], float(row["drop"]), row["permutations"]) == ("pet_f0", 0.2, "9")


def test_a_network_says_that_it_is_not_refitted_where_the_study_asks(tmp_path):
    study = Study(tmp_path)
    models = {"truth": study.model("truth", study.hazard)}
    asked = SETTINGS.model_copy(update={"optimism_bootstraps": 10})
    rows = [r for r in study.run(models, asked)["metrics"] if "optimism" in r["metric"]]
    assert [(r["metric"], r["set"], r["value"]) for r in rows] == [
        ("c_index_optimism_corrected", "development", "")
    ]
    assert "would cost as much as their trainings" in rows[0]["note"]
    assert not [r for r in study.run(models)["metrics"] if "optimism" in r["metric"]]


def test_a_model_that_is_not_refitted_says_why_and_others_have_no_rows(tmp_path):
    (row,) = [r for r in tables(tmp_path, {"reason": "deep features"})["metrics"] if "repeats" in r["metric"]]
    assert (row["value"], row["note"]) == ("", "not refitted: deep features")
    assert not [
        r for r in tables(tmp_path, {})["metrics"] if "repeats" in r["metric"] or "optimism" in r["metric"]
    ]
