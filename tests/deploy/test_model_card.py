"""The model card: what is printed comes from the manifest and the metrics, and identifies nobody."""

from __future__ import annotations

import pandas as pd

from pipeline.deploy.manifest_members import LogisticMember
from pipeline.deploy.model_card import CardFacts, model_card
from tests.deploy.synthetic_bundle import make_manifest
from tests.deploy.test_logistic import make_logistic

NAN = float("nan")
METRICS = pd.DataFrame(
    [
        ("linear", "development", "c_index", 0.71, 0.61, 0.8, "pairs within folds"),
        ("linear", "external", "c_index", NAN, NAN, NAN, "9 events: not estimated"),
        ("linear", "development", "calibration_slope_365.25d", 0.9, 0.5, 1.3, ""),
        ("linear", "development", "dice", 0.8, NAN, NAN, ""),
        ("other", "development", "c_index", 0.99, 0.98, 1.0, ""),
    ],
    columns=["model", "set", "metric", "value", "ci_low", "ci_high", "note"],
)


def test_the_card_says_what_the_metrics_say() -> None:
    card = model_card(make_manifest(), CardFacts(METRICS, (30, 9), 2, True, (40, 20)))
    assert "| C-index (0.5 = chance) | 0.71 (0.61 to 0.80) | 9 events: not estimated |" in card
    assert "| calibration slope (1 is ideal), 1 year | 0.90 (0.50 to 1.30) | – |" in card
    assert "| mean Dice | 0.80 | – |" in card
    assert "0.99" not in card
    assert "Learned from 40 patients (20 with the event) in 2 folds." in card
    assert "Judged on 30 patients (9 with the event) of the external set." in card
    assert "Fewer than 20 events in a set" in card
    assert "| SUVmax of the PET (g/mL) | 5 | 20 |" in card and "Needs clinical values: clinical_age" in card
    assert "not for the care of patients" in card and "risk group and survival at 1 year" in card


def test_without_external_patients_the_card_says_so() -> None:
    development = METRICS[METRICS["set"] == "development"]
    card = model_card(make_manifest(), CardFacts(development, None, 2, True, (40, 20)))
    assert "No external patients" in card and "Fewer than" not in card


def test_repeats_are_no_folds_and_hold_out_nobody() -> None:
    external = METRICS[METRICS["set"] == "external"]
    card = model_card(make_manifest(), CardFacts(external, (30, 9), 3, False, (40, 20)))
    assert "(20 with the event) in 3 trainings, without held-out patients." in card
    assert "No development patient was held out" in card and "fold" not in card
    assert "in 1 training, without" in model_card(
        make_manifest(), CardFacts(external, (30, 9), 1, False, (40, 20))
    )


def test_a_network_of_a_subset_learned_from_that_only() -> None:
    facts = CardFacts(METRICS, (7, None), 2, True, (12, None), subset="lung", grouped=True)
    card = model_card(make_manifest(), facts)
    assert "Learned from 12 patients of the subset lung in 2 folds." in card
    assert "Judged on 7 patients of the subset lung of the external set." in card
    assert "ranges below are of all 40 development patients" in card
    assert "intervals are over whole groups of patients" in card


def test_class_outcomes_have_their_metrics_and_are_named() -> None:
    member = LogisticMember(label="label_size", folds=(make_logistic(),))
    cohort = make_manifest().cohort.model_copy(update={"risk_percentiles": ()})
    manifest = make_manifest(model="size", members={"size": member}, risk_cuts=(), cohort=cohort)
    rows = [
        ("size", "development", f"label_size_{name}", 0.8, 0.7, 0.9, "")
        for name in ("auc", "auc_repeats_mean")
    ]
    card = model_card(
        manifest, CardFacts(pd.DataFrame(rows, columns=METRICS.columns), None, 1, True, (40, 20))
    )
    assert "| label_size: AUC (0.5 = chance) | 0.80 (0.70 to 0.90) |" in card and card.count("0.80 (") == 1
    assert "Predicts the probability of the classes of label_size." in card
