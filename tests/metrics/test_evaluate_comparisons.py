"""The job `evaluate`: models compared with one another, and what each adds to a reference."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from sksurv.metrics import concordance_index_censored

from pipeline.errors import ModelError
from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.metrics.kaplan_meier import kaplan_meier
from pipeline.tables.splits import Splits, read_splits, write_splits
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


def test_listed_pairs_are_compared_in_every_metric_with_holm_over_the_pairs(tmp_path):
    study = Study(tmp_path)
    generator = np.random.default_rng(1)
    n = len(study.ids)
    dice = generator.uniform(0.6, 0.9, n)
    dice[::7] = np.nan
    models = {
        "truth": study.model("truth", study.hazard, dice=dice),
        "weak": study.model("weak", study.hazard + 1.5 * generator.normal(size=n), dice=dice - 0.05),
        "noise": study.model("noise", generator.normal(size=n)),
    }
    pairs = (("truth", "weak"), ("truth", "noise"), ("weak", "noise"))
    rows = study.run(models, SETTINGS.model_copy(update={"comparisons": pairs}))["comparisons"]
    listed = [r for r in rows if r["family"] == "listed pairs" and r["set"] == "development"]
    concordance = {(r["model_a"], r["model_b"]): r for r in listed if r["metric"] == "c_index"}
    assert set(concordance) == set(pairs)
    # The same numbers as a comparison against one model, which is computed elsewhere.
    against = [r for r in study.run(models, SETTINGS.model_copy(update={"compare_with": "noise"}))["comparisons"]
               if r["model_a"] == "truth" and r["set"] == "development"]  # fmt: skip
    for name in ("difference", "ci_low", "ci_high", "p_value"):
        assert concordance["truth", "noise"][name] == against[0][name]
    # Holm by hand: the smallest of three p-values times 3.
    p_values = sorted(float(r["p_value"]) for r in concordance.values())
    assert min(float(r["p_holm"]) for r in concordance.values()) == pytest.approx(min(1, 3 * p_values[0]))
    # Dice is shifted by 0.05 in every patient: so is each resample.
    (of_masks,) = [r for r in listed if r["metric"] == "dice"]
    assert [float(of_masks[k]) for k in ("difference", "ci_low", "ci_high")] == pytest.approx([0.05] * 3)
    assert int(of_masks["patients"]) == int(np.isfinite(dice[:90]).sum())
    assert not [r for r in listed if "fold" in r["metric"]]


def test_subgroups_have_every_metric_of_their_own_patients(tmp_path):
    study = Study(tmp_path)
    study.cohort["centre"] = ["south" if i % 3 == 1 else "north" for i in range(len(study.ids))]
    study.cohort["clinical_stage"] = [np.nan] + [3.0, 4.0] * 64 + [3.0]
    study.cohort.to_parquet(tmp_path / "cohort.parquet")
    dice = np.where(study.cohort["centre"] == "south", 0.5, 0.8)
    models = {"truth": study.model("truth", study.hazard, dice=dice)}
    settings = SETTINGS.model_copy(update={"subgroups": ("centre", "clinical_stage")})
    rows = study.run(models, settings)["subgroups"]
    of_south = {r["metric"]: r for r in rows if r["level"] == "south" and r["set"] == "development"}
    assert float(of_south["dice"]["value"]) == 0.5 and int(of_south["dice"]["patients"]) == 30
    # South is fold 1 alone, so that pairs within folds are all its pairs.
    south = study.cohort[:90][study.cohort[:90]["centre"] == "south"]
    risk = study.hazard[:90][(study.cohort[:90]["centre"] == "south").to_numpy()]
    expected = concordance_index_censored(south["event"] == 1, south["time_days"], risk)[0]
    assert float(of_south["c_index"]["value"]) == pytest.approx(expected)
    stages = {r["level"]: int(r["patients"]) for r in rows if r["column"] == "clinical_stage"
              and r["metric"] == "dice" and r["set"] == "development"}  # fmt: skip
    assert stages == {"3": 45, "4": 44}, "the patient without a stage belongs to no subgroup"


def test_added_value_of_rows_of_one_group_has_no_p_value(tmp_path):
    """Three rows a group, in one fold; external patients are each alone, and tested."""
    study = Study(tmp_path)
    study.cohort["group"] = [f"v{i % 3}_{i // 9}" if i < 90 else p for i, p in enumerate(study.ids)]
    study.cohort.to_parquet(tmp_path / "cohort.parquet")
    noise = np.random.default_rng(1).normal(size=len(study.ids))
    models = {"clinical": study.model("clinical", noise), "truth": study.model("truth", study.hazard)}
    tables = study.run(models, SETTINGS.model_copy(update={"reference_model": "clinical"}))
    added = {r["set"]: r for r in tables["comparisons"] if r["metric"] == "added_log_hazard_ratio"}
    reason = "no p-value: rows of one group are not independent"
    grouped, alone = added["development"], added["external"]
    assert [grouped[c] for c in ("ci_low", "ci_high", "p_value", "p_holm", "note")] == [
        "",
        "",
        "",
        "",
        reason,
    ]
    assert float(grouped["difference"]) > 0 and float(alone["p_value"]) < 0.05 and alone["note"] == ""
    logrank = {r["set"]: r for r in tables["metrics"] if r["metric"] == "logrank_p" and r["model"] == "truth"}
    assert logrank["development"]["value"] == "" and reason in logrank["development"]["note"]
    assert float(logrank["external"]["value"]) < 0.05


def test_values_of_other_patients_are_not_compared_though_they_are_as_many(tmp_path):
    study = Study(tmp_path)
    n = len(study.ids)
    first, second = np.full(n, 0.8), np.full(n, 0.7)
    first[:3], second[3:6] = np.nan, np.nan
    models = {
        "one": study.model("one", study.hazard, dice=first),
        "two": study.model("two", study.hazard, dice=second),
    }
    rows = study.run(models, SETTINGS.model_copy(update={"comparisons": (("one", "two"),)}))["comparisons"]
    listed = {r["set"]: r for r in rows if r["family"] == "listed pairs" and r["metric"] == "dice"}
    refused, same = listed["development"], listed["external"]
    assert [refused[k] for k in ("difference", "ci_low", "p_value", "patients")] == [""] * 4
    assert refused["note"] == "not compared: the two values are of different patients"
    assert float(same["difference"]) == pytest.approx(0.1) and same["patients"] == "40" and same["note"] == ""


def test_a_pair_that_cannot_be_compared_is_told(tmp_path):
    """Models of two parts of the cohort, and models without a metric in common."""
    study = Study(tmp_path)
    parts = {"half": tuple(study.ids[::2])}
    splits = read_splits(tmp_path / "splits.json")
    write_splits(tmp_path / "splits.json", Splits(splits.folds, splits.external, 0, parts))
    in_half = np.arange(len(study.ids)) % 2 == 0
    paths = {"risk": study.model("risk", study.hazard)}
    for name, members in (("masks", np.ones(len(study.ids), dtype=bool)), ("half_masks", in_half)):
        frame = pd.DataFrame(
            {"patient_id": study.ids, "set": study.cohort["set"].to_numpy(), "fold": study.fold}
        )
        paths[name] = tmp_path / f"{name}.parquet"
        frame[members].assign(dice=0.8).to_parquet(paths[name], index=False)
        paths[name].with_suffix(".json").write_text(json.dumps({"caveats": [], "members": {}, "folds": []}))
    pairs = (("masks", "half_masks"), ("risk", "masks"))
    settings = SETTINGS.model_copy(update={"comparisons": pairs})
    sources = Sources(tmp_path / "cohort.parquet", tmp_path / "splits.json", subsets={"half_masks": "half"})
    evaluate(paths, sources, settings, 5, tmp_path / "metrics")
    with (tmp_path / "metrics" / "comparisons.csv").open() as stream:
        listed = [r for r in csv.DictReader(stream) if r["family"] == "listed pairs"]
    assert [(r["model_a"], r["model_b"], r["difference"], r["note"]) for r in listed] == [
        ("masks", "half_masks", "", "not compared: they are judged on different patients "
         "(masks on the whole cohort, half_masks on half)"),
        ("risk", "masks", "", "not compared: the two models have no metric in common"),
    ]  # fmt: skip


def test_words_for_an_unknown_level_are_no_subgroup(tmp_path):
    study = Study(tmp_path)
    words = ["NA", "n/a", "Unknown", "", " - ", "?", "missing"]
    study.cohort["clinical_site"] = [
        words[i] if i < 7 else ("none", "lung")[i % 2] for i in range(len(study.ids))
    ]
    study.cohort.to_parquet(tmp_path / "cohort.parquet")
    models = {"truth": study.model("truth", study.hazard)}
    rows = study.run(models, SETTINGS.model_copy(update={"subgroups": ("clinical_site",)}))["subgroups"]
    sizes = {
        r["level"]: int(r["patients"]) for r in rows if r["set"] == "development" and r["metric"] == "c_index"
    }
    assert sizes == {"lung": 42, "none": 41}


def test_bands_of_rows_of_one_group_are_of_resampled_groups(tmp_path):
    """The same study once with a row a patient and once with each row three times."""
    study = Study(tmp_path)
    study.cohort["group"] = [f"v{i % 3}_{i // 9}" if i < 90 else p for i, p in enumerate(study.ids)]
    study.cohort.to_parquet(tmp_path / "cohort.parquet")
    tables = study.run({"truth": study.model("truth", study.hazard)})
    outcomes = study.cohort[:90]
    counts = resample_counts(90, 200, 5, study.fold[:90], outcomes["group"].to_list())
    time, event = outcomes["time_days"].to_numpy(), outcomes["event"].to_numpy()
    expected = kaplan_meier(time, event, counts=counts).at(365.25)
    rows = [r for r in tables["observed"] if r["set"] == "development" and float(r["time"]) <= 365.25]
    assert float(rows[-1]["ci_low"]) == pytest.approx(expected.low)
    assert float(rows[-1]["ci_high"]) == pytest.approx(expected.high)
    assert expected.low != pytest.approx(kaplan_meier(time, event).at(365.25).low, abs=1e-3)
    external = [r for r in tables["observed"] if r["set"] == "external" and float(r["time"]) <= 365.25][-1]
    of_patients = kaplan_meier(study.cohort["time_days"][90:], study.cohort["event"][90:]).at(365.25)
    assert float(external["ci_low"]) == pytest.approx(of_patients.low), "patients who are each alone"
