"""The verdict says what the intervals allow, and no more."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from pipeline.report.flow import SetSize
from pipeline.report.job import ReportJob
from pipeline.report.verdict import Evaluated, verdict
from tests.report.synthetic_study import make_study

NAN = float("nan")
LEARNED = "Learned from 24–25 (17–19) patients (events) in each of 5 folds"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ReportJob:
    return make_study(tmp_path_factory.mktemp("study") / "synthetic")


def evaluated(difference: tuple[float, float, float], events: int = 28, **scores: float) -> Evaluated:
    """Ensemble 0.71 (0.61–0.80) and volume 0.72, with a difference volume − ensemble as `compare` writes it."""
    rows = [("both", "c_index", 0.71, 0.61, 0.80), ("volume", "c_index", 0.72, 0.62, 0.81)]
    rows += [("deepmts", "dice", scores.get("dice", 0.8), NAN, NAN)]
    for metric, value in scores.items():
        if metric != "dice":
            rows.append(("both", f"{metric}_365.25d", value, value - 0.1, value + 0.1))
    metrics = pd.DataFrame(
        [(model, "external", metric, value, low, high) for model, metric, value, low, high in rows],
        columns=["model", "set", "metric", "value", "ci_low", "ci_high"],
    )
    columns = ["model_a", "model_b", "set", "metric", "difference", "ci_low", "ci_high"]
    comparisons = pd.DataFrame([("volume", "both", "external", "c_index", *difference)], columns=columns)
    sizes = {"development": SetSize(40, 30), "external": SetSize(40, events)}
    return Evaluated(metrics, comparisons, sizes, LEARNED, 2, 82)


@pytest.mark.parametrize(
    ("difference", "conclusion"),
    [
        ((0.01, -0.05, 0.07), "difference −0.01 (−0.07 to 0.05): no evidence that both is better."),
        ((-0.08, -0.14, -0.02), "difference 0.08 (0.02–0.14): both is better."),
        ((0.08, 0.02, 0.14), "difference −0.08 (−0.14 to −0.02): both is worse."),
        ((0.01, NAN, NAN), "difference −0.01: whether both is better cannot be said."),
    ],
)
def test_the_answer_follows_the_interval_of_the_difference(
    job: ReportJob, difference: tuple[float, float, float], conclusion: str
) -> None:
    found = verdict(job, evaluated(difference))
    assert found is not None
    assert found.answers == (f"External: C-index 0.71 (0.61–0.80), volume 0.72 (0.62–0.81); {conclusion}",)
    assert "better than volume alone?" in found.question
    assert found.basis == (
        "Learned from 24–25 (17–19) patients (events) in each of 5 folds; judged on 40 external patients (28 events)."
    )
    assert found.doubts[0] == "2 of 82 patients were excluded (see Cohort)."


def test_few_events_have_no_answer(job: ReportJob) -> None:
    found = verdict(job, evaluated((-0.08, -0.14, -0.02), events=9))
    assert found is not None and found.answers == ("External: 9 events, too few for an answer.",)


def test_an_interval_down_to_chance_is_told(job: ReportJob) -> None:
    tables = evaluated((0.01, -0.05, 0.07))
    tables.metrics.loc[0, "ci_low"] = 0.49
    found = verdict(job, tables)
    assert found is not None and found.answers[0].endswith("It is not shown to be better than chance.")


@pytest.mark.parametrize(
    ("ratio", "slope", "words"),
    [
        (1.05, 0.95, "no deviation is shown"),
        (1.3, 1.0, "too few events are predicted."),
        (0.7, 0.6, "too many events are predicted; predictions are too far apart."),
        (1.0, 1.4, "predictions are too close together."),
    ],
)
def test_calibration_is_said_as_its_intervals_allow(
    job: ReportJob, ratio: float, slope: float, words: str
) -> None:
    found = verdict(job, evaluated((0, -1, 1), observed_expected=ratio, calibration_slope=slope))
    assert found is not None and words in found.calibration and "1 year, external" in found.calibration


def test_probabilities_without_intervals_are_not_called_right(job: ReportJob) -> None:
    tables = evaluated((0, -1, 1), observed_expected=1.0)
    tables.metrics.loc[tables.metrics["metric"].str.startswith("observed"), ["ci_low", "ci_high"]] = NAN
    found = verdict(job, tables)
    assert found is not None and "agreement cannot be judged" in found.calibration


def test_a_network_that_hardly_trained_is_named(job: ReportJob) -> None:
    doubts = verdict(job, evaluated((0, -1, 1), dice=0.09)).doubts
    assert any("deepmts hardly finds the tumour (mean Dice 0.09)" in doubt for doubt in doubts)
    assert not any("hardly" in doubt for doubt in verdict(job, evaluated((0, -1, 1))).doubts)


def test_the_simplest_model_is_found_and_never_a_simulated_truth(job: ReportJob) -> None:
    assert job.baseline == "volume"
    evaluation = job.settings.evaluation.model_copy(update={"baseline_model": "deepmts"})
    named = replace(job, settings=job.settings.model_copy(update={"evaluation": evaluation}))
    assert named.baseline == "deepmts"


def test_development_alone_says_that_nothing_else_was_judged(job: ReportJob) -> None:
    tables = evaluated((0, -1, 1))
    tables.metrics["set"] = "development"
    found = verdict(job, tables)
    assert found is not None and any("another source" in doubt for doubt in found.doubts)
