"""The job `evaluate` on predictions of known worth."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import ModelError
from pipeline.metrics.concordance import concordance_index
from pipeline.metrics.evaluate import COLUMNS
from pipeline.tables.splits import Fold, Splits, write_splits
from tests.metrics.evaluated_study import SETTINGS, Study, value


def test_metrics_of_the_true_hazard(tmp_path):
    study = Study(tmp_path)
    tables = study.run({"truth": study.model("truth", study.hazard)})
    rows = tables["metrics"]
    inside = study.fold >= 0
    time, event = study.cohort["time_days"].to_numpy(), study.cohort["event"].to_numpy(float)
    expected = concordance_index(time[inside], event[inside], study.hazard[inside], study.fold[inside])
    assert value(rows, "c_index") == pytest.approx(expected, abs=1e-9)
    assert value(rows, "c_index", column="ci_low") < expected < value(rows, "c_index", column="ci_high")
    outside = concordance_index(time[~inside], event[~inside], study.hazard[~inside])
    assert value(rows, "c_index", which="external") == pytest.approx(outside, abs=1e-9)
    folds = [value(rows, f"c_index_fold{k}") for k in range(3)]
    assert value(rows, "c_index_fold_mean") == pytest.approx(np.mean(folds), abs=1e-9)
    assert value(rows, "c_index_fold_sd") == pytest.approx(np.std(folds, ddof=1), abs=1e-9)
    assert 0.5 < value(rows, "observed_expected_365.25d") < 1.5
    assert value(rows, "brier_skill_730.5d") > 0
    pooled = [r for r in rows if r["metric"] == "c_index_pooled"]
    assert len(pooled) == 1 and "marked" in pooled[0]["note"]
    assert {tuple(r) for r in rows} == {COLUMNS["metrics"]}


def test_risk_groups_follow_the_training_cuts(tmp_path):
    study = Study(tmp_path)
    tables = study.run({"truth": study.model("truth", study.hazard)})
    groups = {r["patient_id"]: int(r["group"]) for r in tables["risk_groups"]}
    for patient, risk, fold in zip(study.ids, study.hazard, study.fold, strict=True):
        cut = 0.1 * fold if fold >= 0 else 0.1
        assert groups[patient] == 1 + (risk > cut)
    curve = [r for r in tables["km"] if r["set"] == "external" and r["group"] == "2"]
    assert float(curve[0]["time"]) == 0 and float(curve[0]["survival"]) == 1
    worse = sum(1 for p, g in groups.items() if g == 2 and study.cohort.loc[p, "set"] == "external")
    assert int(curve[0]["at_risk"]) == worse
    assert value(tables["metrics"], "logrank_p", which="external") < 0.01
    assert np.isnan(value(tables["metrics"], "logrank_p"))  # cross-validated groups, and no permutations


def test_log_rank_of_cross_validated_groups_is_that_of_permutations(tmp_path):
    study, paths = Study(tmp_path), {}
    for name, p_value in (("truth", 0.02), ("noise", 0.03)):
        paths[name] = tmp_path / f"{name}_permutations.json"
        paths[name].write_text(json.dumps({"p_value": p_value, "permutations": 199, "reason": ""}))
    models = {name: study.model(name, study.hazard) for name in ("truth", "noise", "net")}
    rows = study.run(models, permutations=paths)["metrics"]
    assert [value(rows, "logrank_p", model) for model in models][:2] == [0.02, 0.03]
    assert np.isnan(value(rows, "logrank_p", "net"))
    # Holm over the two that have a p-value: 2 · 0.02, then the larger of it and 0.03.
    assert [value(rows, "logrank_p_holm", model) for model in models][:2] == [0.04, 0.04]


@pytest.mark.parametrize("events", [1, 3, 8, 30])
def test_below_ten_events_of_a_set_nothing_is_estimated(tmp_path, events):
    study = Study(tmp_path)
    external = study.cohort.index[study.cohort["set"] == "external"]
    study.cohort.loc[external, "event"] = (np.arange(40) < events).astype(int)
    study.cohort.to_parquet(tmp_path / "cohort.parquet")
    models = {"truth": study.model("truth", study.hazard), "noise": study.model("noise", -study.hazard)}
    settings = SETTINGS.model_copy(update={"reference_model": "noise"})
    tables = study.run(models, settings)
    estimates = [r for r in tables["metrics"] if r["set"] == "external" and r["model"] == "truth"]
    assert {"c_index", "auc_365.25d", "brier_skill_730.5d", "logrank_p"} <= {r["metric"] for r in estimates}
    differences = [r for r in tables["comparisons"] if r["set"] == "external"]
    assert differences
    if events >= 10:
        assert value(estimates, "c_index", which="external") > 0 and differences[0]["p_value"]
        return
    for row in (*estimates, *differences):
        assert not any(
            row.get(key) for key in ("value", "difference", "ci_low", "ci_high", "p_value", "p_holm")
        )
    note = f"{events} event{'s' * (events > 1)}: not estimated"
    assert all(row["note"] == note and row["events"] == str(events) for row in estimates)
    assert {r["set"] for r in tables["km"]} == {r["set"] for r in tables["calibration"]} == {"development"}
    assert (
        {r["set"] for r in tables["roc_curves"]}
        == {r["set"] for r in tables["time_curves"]}
        == {"development"}
    )
    assert len([r for r in tables["risk_groups"] if r["set"] == "external"]) == 80
    assert value(tables["metrics"], "c_index") > 0.6


def test_probabilities_of_all_models_are_judged_on_the_same_patients(tmp_path):
    """One model has no probability at two years in fold 0, as where its follow-up ends early."""
    study = Study(tmp_path)
    short = np.exp(-np.exp(study.hazard) * 730.5 / 900)
    short[study.fold == 0] = np.nan
    models = {
        "whole": study.model("whole", study.hazard),
        "short": study.model("short", study.hazard, **{"survival_730.5d": short}),
        "none": study.model("none", study.hazard, **{"survival_730.5d": np.full(len(study.ids), np.nan)}),
    }
    tables = study.run(models)
    rows = [r for r in tables["metrics"] if r["set"] == "development"]
    patients = {(r["model"], r["metric"]): r["patients"] for r in rows}
    assert patients["whole", "brier_730.5d"] == patients["short", "brier_730.5d"] == "60"
    assert patients["none", "brier_730.5d"] == "0" and patients["whole", "brier_365.25d"] == "90"
    assert value(rows, "brier_730.5d", "whole") == value(rows, "brier_730.5d", "short")
    (row,) = [r for r in rows if r["model"] == "whole" and r["metric"] == "brier_730.5d"]
    assert "30 patients left out" in row["note"]


def test_observed_survival_of_a_whole_set(tmp_path):
    study = Study(tmp_path)
    rows = study.run({"truth": study.model("truth", study.hazard)})["observed"]
    own = study.cohort[study.cohort["set"] == "external"].sort_values("time_days")
    # Kaplan and Meier 1958, equation 2b: the product of (n − d) / n over the event times.
    survival, expected = 1.0, [(0.0, 1.0, 40)]
    for left, (time, event) in zip(range(40, 0, -1), own[["time_days", "event"]].to_numpy(), strict=True):
        survival *= (left - event) / left
        expected.append((time, survival, left))
    tables = [
        (float(r["time"]), float(r["survival"]), int(r["at_risk"])) for r in rows if r["set"] == "external"
    ]
    np.testing.assert_allclose(tables, expected, rtol=1e-8)
    assert {r["set"] for r in rows} == {"development", "external"}


def test_without_test_patients_only_external_ones_are_evaluated(tmp_path):
    study = Study(tmp_path)
    path = study.model("truth", study.hazard)
    table = pd.read_parquet(path)
    table[table["set"] == "external"].to_parquet(path, index=False)
    everyone = tuple(study.ids[:90])
    write_splits(tmp_path / "splits.json", Splits((Fold(everyone, (), ()),), tuple(study.ids[90:]), 0))
    tables = study.run({"truth": path})
    assert {r["set"] for r in tables["metrics"]} == {"external"}
    assert value(tables["metrics"], "c_index", which="external") > 0.6


def test_three_groups(tmp_path):
    study = Study(tmp_path)
    settings = SETTINGS.model_copy(update={"risk_groups": 3})
    tables = study.run({"truth": study.model("truth", study.hazard)}, settings)
    assert {r["group"] for r in tables["risk_groups"]} == {"1", "2", "3"}


def test_horizons_beyond_follow_up_are_empty_with_a_reason(tmp_path):
    study = Study(tmp_path)
    settings = SETTINGS.model_copy(update={"horizons_days": (365.25, 36525.0)})
    path = study.model("truth", study.hazard, survival_36525d=np.nan)
    rows = study.run({"truth": path}, settings)["metrics"]
    assert np.isnan(value(rows, "auc_36525d"))
    (row,) = [r for r in rows if r["metric"] == "auc_36525d" and r["set"] == "development"]
    assert "no patient is followed" in row["note"] and row["value"] == ""


def test_dice_of_networks(tmp_path):
    study = Study(tmp_path)
    dice = np.linspace(0.2, 0.9, len(study.ids))
    rows = study.run({"truth": study.model("truth", study.hazard, dice=dice)})["metrics"]
    assert value(rows, "dice") == pytest.approx(dice[study.fold >= 0].mean(), abs=1e-9)


def test_caveats_stand_at_every_number(tmp_path):
    study = Study(tmp_path)
    rows = study.run({"truth": study.model("truth", study.hazard, caveats=["marked: peeked"])})["metrics"]
    assert all("marked: peeked" in r["note"] for r in rows)


def test_a_missing_patient_is_refused(tmp_path):
    study = Study(tmp_path)
    path = study.model("truth", study.hazard)
    frame = pd.read_parquet(path)
    frame[frame["patient_id"] != "P007"].to_parquet(path, index=False)
    with pytest.raises(ModelError, match="P007"):
        study.run({"truth": path})


def test_a_constant_risk_has_a_coin_toss_and_no_groups(tmp_path):
    study = Study(tmp_path)
    tables = study.run({"truth": study.model("truth", np.zeros(len(study.ids)))})
    assert value(tables["metrics"], "c_index") == 0.5
    assert {r["group"] for r in tables["risk_groups"]} == {"1"}
    for which in ("development", "external"):
        assert np.isnan(value(tables["metrics"], "logrank_p", which=which))


def without_risk(study, name, dice):
    path = study.model(name, study.hazard, dice=dice)
    frame = pd.read_parquet(path)
    dropped = [c for c in frame.columns if c in ("risk", "spread") or c.startswith("survival_")]
    frame.drop(columns=dropped).to_parquet(path, index=False)
    info = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**info, "members": {name: []}, "folds": []}))
    return path


def test_a_network_without_risk_has_no_concordance(tmp_path):
    """Its masks are scored as ever; the others are compared with the first that ranks."""
    study = Study(tmp_path)
    dice = np.linspace(0.2, 0.9, 130)
    masks, truth, noise = without_risk(study, "masks", dice), study.hazard, np.roll(study.hazard, 1)
    tables = study.run(
        {"masks": masks, "truth": study.model("truth", truth), "noise": study.model("noise", noise)}
    )
    assert [r["metric"] for r in tables["metrics"] if r["model"] == "masks"] == ["dice", "dice"]
    assert value(tables["metrics"], "dice", "masks") == pytest.approx(dice[:90].mean())
    assert value(tables["metrics"], "dice", "masks", column="events") == study.cohort["event"][:90].sum()
    assert {(r["model_a"], r["model_b"]) for r in tables["comparisons"]} == {("noise", "truth")}
    for name in ("risk_groups", "km", "calibration"):
        assert {r["model"] for r in tables[name]} == {"truth", "noise"}
    alone = study.run({"truth": study.model("truth", truth), "noise": study.model("noise", noise)})
    assert alone["metrics"] == [r for r in tables["metrics"] if r["model"] != "masks"]


def test_a_cohort_without_outcomes(tmp_path):
    study = Study(tmp_path)
    masks = without_risk(study, "masks", np.linspace(0.2, 0.9, 130))
    study.cohort.drop(columns=["time_days", "event"]).to_parquet(tmp_path / "cohort.parquet")
    tables = study.run({"masks": masks})
    assert [(r["metric"], r["patients"], r["events"]) for r in tables["metrics"]] == [
        ("dice", "90", ""), ("dice", "40", ""),
    ]  # fmt: skip
    assert not any(tables[name] for name in COLUMNS if name != "metrics")
    with pytest.raises(ModelError, match="model truth predicts survival, and the cohort has no outcomes"):
        study.run({"masks": masks, "truth": study.model("truth", study.hazard)})
