"""Importance of a network's inputs from its risks under permutations, by hand and through `evaluate`."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.metrics.network_importance import network_importance_rows
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.time_dependent import SurvivalOutcome
from pipeline.tables.predictions import PERMUTED_RISKS, write_permuted_risks
from pipeline.tables.status import stage_folder
from tests.metrics.evaluated_study import SETTINGS, Study


def permuted(ids, risks):
    """Column → risks of each permutation, as a table."""
    rows = [
        (patient, column, number, risk)
        for column, of_permutations in risks.items()
        for number, values in enumerate(of_permutations)
        for patient, risk in zip(ids, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["patient_id", "column", "permutation", "risk"])


def perfect(events=12):
    """Twelve patients in the order of their events, whose risks are in that order: C-index 1."""
    time = np.arange(1.0, 13)
    event = (np.arange(12) < events).astype(float)
    ids = tuple(f"P{i:02d}" for i in range(12))
    base = Predictions("net", "development", ids, np.zeros(12), event)
    return RiskPredictions.of(base, SurvivalOutcome.of(time, event), -time, {})


def test_falls_by_hand():
    predictions = perfect()
    time = predictions.outcome.time
    risks = {"image ct": [-time, -time], "image pet": [time, np.zeros(12)]}
    # C-index 1 as it is; reversed 0; all equal 0.5: falls of 0 and 0, of 1 and 0.5.
    table = permuted(predictions.patients, risks).sample(frac=1, random_state=0)
    pet, ct = network_importance_rows(predictions, table)
    assert (pet["column"], pet["drop"], pet["permutations"]) == ("image pet", pytest.approx(0.75), 2)
    assert pet["sd"] == pytest.approx(np.std([1, 0.5], ddof=1))
    assert (ct["column"], ct["drop"], ct["sd"]) == ("image ct", 0, 0)


def test_few_events_have_none_and_a_missing_patient_is_refused():
    few = perfect(events=9)
    assert network_importance_rows(few, permuted(few.patients, {"image pet": [few.outcome.time]})) == []
    predictions = perfect()
    table = permuted(predictions.patients, {"image pet": [predictions.outcome.time]})
    with pytest.raises(ModelError, match="P03"):
        network_importance_rows(predictions, table[table["patient_id"] != "P03"])


def test_it_stands_in_the_table_of_importance_and_counts_pairs_within_folds(tmp_path):
    study = Study(tmp_path)
    dealt = np.random.default_rng(3).permutation(study.hazard)
    ids, folders = np.array(study.ids), []
    for fold in range(3):
        held, folder = study.fold == fold, tmp_path / f"fold{fold}"
        # Scores of a fold are shifted against those of others: within folds that changes nothing.
        table = permuted(ids[held], {"image pet": [dealt[held] + 10 * fold]})
        with stage_folder("train_fold", folder) as out:
            write_permuted_risks(out / PERMUTED_RISKS, table)
        folders.append(folder)
    sources = Sources(tmp_path / "cohort.parquet", tmp_path / "splits.json", permuted={"truth": folders})
    evaluate({"truth": study.model("truth", study.hazard)}, sources, SETTINGS, 5, tmp_path / "metrics")
    with (tmp_path / "metrics" / "importance.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    development = study.fold >= 0
    time, event = (study.cohort[name].to_numpy(float)[development] for name in ("time_days", "event"))
    before, after = (
        concordance_index(time, event, risk[development], study.fold[development].astype(float))
        for risk in (study.hazard, dealt)
    )
    assert (row["model"], row["column"], row["permutations"]) == ("truth", "image pet", "1")
    assert float(row["drop"]) == pytest.approx(before - after) and float(row["drop"]) > 0.1
    assert row["sd"] == "" and json.loads((tmp_path / "splits.json").read_text())["folds"]
