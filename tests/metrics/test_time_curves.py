"""The AUC over follow-up and its weighted mean against scikit-survival, weights by hand."""

import numpy as np
import pytest
from sksurv.metrics import cumulative_dynamic_auc, integrated_brier_score
from sksurv.util import Surv

from pipeline.metrics.bootstrap import resample_counts
from pipeline.metrics.predictions import Predictions, RiskPredictions
from pipeline.metrics.scores import score
from pipeline.metrics.time_curves import auc_times, auc_weights, time_curves
from pipeline.metrics.time_dependent import SurvivalOutcome
from tests.metrics.evaluated_study import SETTINGS, Study, value
from tests.metrics.test_scores import sample


def predictions_of(seed, fold=None, times=(5.0, 12.0), further=(2.0, 8.0, 20.0)):
    time, event, risk = sample(seed)
    curve = {days: np.exp(-np.exp(risk) * days / 25) for days in (*times, *further)}
    base = Predictions("m", "external" if fold is None else "development", ("a",) * 90, fold, event)
    with_risk = RiskPredictions.of(base, SurvivalOutcome.of(time, event), risk, {d: curve[d] for d in times})
    object.__setattr__(with_risk, "further_survival", {d: curve[d] for d in further})
    return with_risk


def test_curve_and_mean_agree_with_scikit_survival():
    predictions = predictions_of(3)
    curves = time_curves(predictions, resample_counts(90, 200, 1), 0.95)
    points = [p for p in curves.points if p["metric"] == "auc"]
    times = np.array([p["time"] for p in points])
    outcome = Surv.from_arrays(predictions.outcome.event == 1, predictions.outcome.time)
    expected, mean = cumulative_dynamic_auc(outcome, outcome, predictions.risk, times)
    assert [p["value"] for p in points] == pytest.approx(list(expected), abs=1e-12)
    (row,) = curves.metrics
    assert row.metric == "auc_integrated" and row.interval.value == pytest.approx(mean, abs=1e-12)
    assert row.interval.low < mean < row.interval.high
    assert all(p["ci_low"] < p["value"] < p["ci_high"] for p in points)


def test_the_integrated_brier_score_is_over_all_predicted_times():
    predictions = predictions_of(3)
    rows = {row.metric: row for row in score(predictions, resample_counts(90, 100, 1), 0.95)}
    outcome = Surv.from_arrays(predictions.outcome.event == 1, predictions.outcome.time)
    curves = predictions.all_survival()
    assert list(curves) == [2.0, 5.0, 8.0, 12.0, 20.0]
    expected = integrated_brier_score(outcome, outcome, np.stack(list(curves.values()), axis=1), list(curves))
    assert rows["ibs"].interval.value == pytest.approx(expected, abs=1e-12)
    assert rows["ibs"].note == "trapezoid over 5 times, 2 to 20 days"
    points = time_curves(predictions, resample_counts(90, 100, 1), 0.95).points
    of_model = [p["value"] for p in points if p["metric"] == "brier"]
    assert np.trapezoid(of_model, list(curves)) / 18 == pytest.approx(expected, abs=1e-12)
    # Of the set's own curve S(1 − S), at most a quarter.
    assert max(p["value"] for p in points if p["metric"] == "brier_kaplan_meier") <= 0.25


def test_weights_are_the_falls_of_the_curve_by_hand():
    # S falls to 0.8 at 1, 0.6 at 2, 0.3 at 4 (two censored at 3, one of two at risk dies).
    outcome = SurvivalOutcome.of(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.0, 1.0, 0.0, 1.0, 0.0]))
    assert auc_weights(outcome, np.array([1.0, 2.0, 4.0])) == pytest.approx([0.2 / 0.7, 0.2 / 0.7, 0.3 / 0.7])


def test_times_have_five_patients_on_each_side():
    time, event, _ = sample(0)
    outcome = SurvivalOutcome.of(time, event)
    times = auc_times(outcome)
    assert len(times) == 12
    assert ((time <= times[0]) & (event == 1)).sum() == 5
    assert (time > times[-1]).sum() >= 5
    assert len(auc_times(SurvivalOutcome.of(time[:20], np.r_[np.ones(4), np.zeros(16)]))) == 0


def test_development_counts_pairs_within_folds_and_few_events_have_no_curve(tmp_path):
    study = Study(tmp_path)
    # Risks of a fold are shifted against those of others: within folds that changes nothing.
    shifted = study.hazard + 10 * study.fold
    tables = study.run(
        {"truth": study.model("truth", study.hazard), "shifted": study.model("shifted", shifted)}
    )
    truth, other = (
        [float(r["value"]) for r in tables["time_curves"]
         if (r["model"], r["set"], r["metric"]) == (name, "development", "auc")]
        for name in ("truth", "shifted")
    )  # fmt: skip
    assert len(truth) == 12 and truth == pytest.approx(other)
    assert value(tables["metrics"], "auc_integrated") > 0.7
    (row,) = [r for r in tables["metrics"] if r["metric"] == "auc_integrated" and r["model"] == "truth"
              and r["set"] == "external"]  # fmt: skip
    assert "weighted by the events" in row["note"] and "folds" not in row["note"]
    outcome = SurvivalOutcome.of(np.arange(1.0, 41), (np.arange(40) < 9).astype(float))
    few = RiskPredictions.of(Predictions("m", "external", ("a",) * 40, None), outcome, np.arange(40.0), {})
    curves = time_curves(few, np.ones((100, 40)), 0.95)
    assert curves.points == [] and curves.metrics[0].note == "9 events: not estimated"


def test_further_times_of_the_study_are_read(tmp_path):
    study = Study(tmp_path)
    columns = {"survival_180d": np.exp(-np.exp(study.hazard) * 180 / 900)}
    settings = SETTINGS.model_copy(update={"curve_days": (180.0,)})
    tables = study.run({"truth": study.model("truth", study.hazard, **columns)}, settings)
    times = [
        float(r["time"]) for r in tables["time_curves"] if r["metric"] == "brier" and r["set"] == "external"
    ]
    assert times == [180.0, 365.25, 730.5]
