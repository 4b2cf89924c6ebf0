"""Tables and words: expected values counted by hand on made-up inputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.report import flow, tables
from pipeline.report import formatting as words
from pipeline.report import qc_tables as audit
from pipeline.report import survival_figures as curves
from pipeline.report.formatting import Clock, cell, horizon_name, interval, p_value
from pipeline.tables.splits import Fold, Splits, read_splits
from tests.report.made_up import Made, make_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_study(tmp_path_factory.mktemp("study") / "made_up")


def test_flow_counts_each_patient_once(made: Made) -> None:
    cohort = pd.read_parquet(made.results / "cohort.parquet")
    problems = pd.read_csv(made.results / "problems.csv", keep_default_na=False)
    counted = flow.flow_of(cohort, problems, read_splits(made.results / "splits.json"))
    # 8 usable; X1 and X3 refused by suv (X3 passed on by crop), X2 by contours.
    assert counted.listed == 11
    assert counted.excluded == {"suv": 2, "contours": 1}
    assert list(counted.excluded) == ["suv", "contours"], "the stages' order"
    assert counted.warned == 1, "A1 twice warned is one patient; X1 is excluded"
    assert counted.sets == {"development": (6, 3), "external": (2, 1)}
    assert (counted.training, counted.runs) == ("2-fold cross-validation", "predicted by all folds")


def test_flow_without_folds_says_who_was_trained_on(made: Made) -> None:
    cohort = pd.read_parquet(made.results / "cohort.parquet")
    problems = pd.DataFrame(columns=["patient_id", "stage", "state"])
    fold = Fold(("A1", "A2", "A3", "A4"), ("A5", "A6"), ())
    once = flow.flow_of(cohort, problems, Splits((fold,), ("E1", "E2"), 1))
    assert (once.training, once.runs) == ("4 training, 2 validation", "predicted by the model")
    thrice = flow.flow_of(cohort, problems, Splits((fold,) * 3, ("E1", "E2"), 1))
    assert thrice.runs == "predicted by 3 runs"


@pytest.mark.parametrize(
    ("time", "expected"), [(0, 3), (1, 3), (1.01, 2), (3, 2), (4.9, 1), (5, 1), (5.01, 0), (9, 0)]
)
def test_numbers_at_risk(time: float, expected: int) -> None:
    # Patients leave at 1, 3 and 5: at t those count whose time is not before t.
    curve = pd.DataFrame({"time": [0, 1, 3, 5], "at_risk": [3, 3, 2, 1]})
    assert curves.at_risk(curve, time) == expected


def test_survival_is_read_off_the_step_before() -> None:
    curve = pd.DataFrame(
        {"time": [0.0, 1, 3], "survival": [1, 0.5, 0.25], "ci_low": [1, 0.2, 0.1], "ci_high": [1, 0.8, 0.6]}
    )
    assert curves.survival_at(curve, 2.9) == (0.5, 0.2, 0.8)
    assert curves.survival_at(curve, 3) == (0.25, 0.1, 0.6)
    assert curves.survival_at(curve, 3.1)[0] != curves.survival_at(curve, 3.1)[0], "unknown after follow-up"
    died = curve.assign(survival=[1, 0.5, 0.0])
    assert curves.survival_at(died, 3.1)[0] == 0, "known where the last patient had the event"


def test_group_names() -> None:
    assert [curves.group_name(g, 2) for g in (1, 2)] == ["low risk", "high risk"]
    assert curves.group_name(1, 4) == "risk group 1 of 4"


def test_risk_groups(made: Made) -> None:
    table = tables.risk_groups(made.results / "metrics", made.job)
    first = table[(table["Set"] == "Development") & (table["Group"] == "low risk")].iloc[0]
    # Group 1 holds the odd numbers, all events, at 400, 1200 and 2000 days.
    assert (first["Patients"], first["Events"]) == (3, 3)
    assert first["Survival, 1 year"] == "1.00"
    assert first["Survival, 2 years"] == "0.67 (0.05–0.90)"


def test_wide_tables_leave_out_what_nobody_has(made: Made) -> None:
    metrics = pd.read_csv(made.results / "metrics" / "metrics.csv")
    wide = tables.performance(metrics, made.job.evaluation.horizons_days, "days")
    assert list(wide["discrimination"].columns) == [
        "Set",
        "Model",
        "C-index",
        "AUC, 1 year",
        "Patients (events)",
    ]
    first = wide["discrimination"].iloc[0].tolist()
    assert first == ["External", "deepmts", "0.600 (0.41–0.87)", "0.700", "2 (1)"]
    assert wide["calibration"].empty


def test_marks_of_plan_and_of_evaluate_are_told(made: Made) -> None:
    metrics = pd.read_csv(made.results / "metrics" / "metrics.csv")
    assert tables.survival_marks(made.job, metrics) == [
        "no validation: Z-scores and baseline hazard come from test patients",
        "Z-scores from test patients (deepmts)",
    ]


def test_what_rounds_to_nothing_has_no_sign() -> None:
    assert words.interval(0.065, -0.0009, 0.14) == "0.065 (0.00 to 0.14)"
    assert words.fixed(-0.06, 3) == "−0.060"


def test_few_events() -> None:
    assert tables.few_events({"development": (40, 20), "external": (90, 45)}) == ""
    told = tables.few_events({"development": (40, 20), "external": (40, 19)})
    assert "external 19" in told
    assert "development" not in told


def test_cohort_table(made: Made) -> None:
    cohort = pd.read_parquet(made.results / "cohort.parquet")
    table = tables.cohort_table(cohort, "days").set_index("")
    assert table.loc["Events"].tolist() == ["3 (50%)", "1 (50%)"]
    assert table.loc["Age: median (range)", "Development"] == "52 (50–54); missing: 1"
    assert table.loc["Sex: patients", "Development"] == "F: 3, M: 2; missing: 1"
    follow = "Time to event or last follow-up, days: median (range)"
    assert table.loc[follow, "External"] == "3000 (2800–3200)"


def test_radiomics_are_counted_by_image_filter_and_class(made: Made) -> None:
    table = tables.radiomics_overview(made.results / "radiomics" / "features.parquet")
    assert table.iloc[0].tolist() == ["All", "", "8 patients", 4, 1]
    rows = {tuple(row[:3]): row[3:] for row in table.values.tolist()}
    assert rows["PET", "wavelet", "glcm"] == [2, 0]
    assert rows["PET", "–", "index"] == [1, 1]


def test_variables_of_linear_models(made: Made) -> None:
    row = tables.chosen_variables(made.job).iloc[0]
    assert (row["Variable"], row["Folds"]) == ("volume_ml", "2 of 2")
    assert row["Mean log-hazard ratio"] == pytest.approx(0.3)


def test_what_the_fits_had_to_tell_is_told_once_per_model(made: Made) -> None:
    assert tables.model_remarks(made.job) == []
    model = next(name for name in made.job.models if len(made.job.folds(name)) == 2)
    for folder, events in zip(made.job.folds(model), (19, 21), strict=True):
        path = folder / "model.json"
        about = json.loads(path.read_text()) if path.is_file() else {}
        lines = [f"{events} events for 80 candidate variables (0.{events} per variable)"]
        lines += ["the risk is 0"] * (events == 21)
        path.write_text(json.dumps({**about, "warnings": lines}))
    few, nothing = tables.model_remarks(made.job)
    assert "2 of 2 folds, the first of them: 19 events for 80" in few
    assert nothing.endswith("1 of 2 folds: the risk is 0")


def test_suv_audit_puts_flagged_first_and_tells_no_date(made: Made) -> None:
    table = audit.suv_audit(made.results)
    assert table["Patient"].tolist() == ["A2", "A1"]
    assert "2019" not in table.to_csv()
    # The injection was the evening before.
    assert "reference time day 1 09:20:37" in table.loc[0, "Path taken"]
    assert "injection day 0 23:07:00" in table.loc[0, "Path taken"]
    short = audit.suv_on_page(table).loc[0, "Path taken"]
    assert short == "dose decayed 4417 s; Series Time"


def test_suv_audit_tells_reference_regions(made: Made) -> None:
    assert "Reference SUV" not in audit.suv_audit(made.results)
    path, folder = made.results / "suv" / "A1" / "suv.json", made.results / "contours" / "A1"
    kept = path.read_text()
    path.write_text(json.dumps({**json.loads(kept), "reference": {"median": 0.61234567}}))
    folder.mkdir(parents=True)
    (folder / "contours.json").write_text(json.dumps({"reference": {"mean": 2.25}}))
    table = audit.suv_audit(made.results).set_index("Patient")
    assert table.loc["A1", "Body SUV"] == 0.61235 and table.loc["A1", "Reference SUV"] == 2.25
    path.write_text(kept)
    shutil.rmtree(made.results / "contours")


def test_registration_is_ranked_after_alignment(made: Made, tmp_path: Path) -> None:
    quality = audit.registration_quality(made.results)
    assert quality.set_index("patient_id").loc["A1", "translation_mm"] == pytest.approx(13.0)
    shown = audit.quality_on_page(quality)
    assert shown["Patient"].tolist() == ["A2", "A1", "A3"], "A2 overlaps least; the template comes last"
    for patient_id in ("A1", "A2"):
        (made.results / "registration" / patient_id / "quality.png").write_bytes(b"png")
    assert audit.copy_worst(made.results, quality, tmp_path, 1) == ["registration_A2.png"]
    for patient_id in ("A1", "A2"):
        (made.results / "registration" / patient_id / "quality.png").unlink()


def test_numbers_as_printed() -> None:
    assert interval(0.7123, 0.654, 0.768) == "0.712 (0.65–0.77)"
    assert interval(-0.05, -0.2, 0.1) == "−0.050 (−0.20 to 0.10)"
    assert interval(0.5, float("nan"), float("nan")) == "0.500"
    assert interval(float("nan"), 0.1, 0.2) == "–"
    assert [p_value(p) for p in (0.0004, 0.0312, 0.25, 1.0, None)] == [
        "< 0.001",
        "0.031",
        "0.25",
        "1.00",
        "–",
    ]
    assert [cell(v) for v in (None, float("nan"), "", 3, 0.000537291, 12345.6)] == [
        "–", "–", "–", "3", "0.0005373", "12346",
    ]  # fmt: skip


def test_time_axes() -> None:
    assert Clock.of("days", 2000).label == "Years"
    assert Clock.of("days", 2000).ticks(2000) == [0, 1, 2, 3, 4, 5]
    assert Clock.of("months", 400).label == "Months"
    assert Clock.of("none", 2000) == Clock(1.0, "Time (no unit)")
    assert Clock.of("none", 6).ticks(6) == [0, 1, 2, 3, 4, 5, 6]
    assert [horizon_name(d, "days") for d in (365.25, 730.5, 182.625)] == ["1 year", "2 years", "6 months"]
    assert [horizon_name(d, "days") for d in (365, 730, 548)] == ["1 year", "2 years", "1.5 years"]
    assert horizon_name(2.0, "none") == "time 2"


def test_added_value_and_differences_are_tables_of_their_own() -> None:
    common = {"set": "development", "p_holm": 0.2, "patients": 20, "events": 9}
    rows = pd.DataFrame(
        [
            {"model_a": "net", "model_b": "age", "metric": "c_index", "difference": 0.1,
             "ci_low": -0.1, "ci_high": 0.3, "p_value": 0.1, **common},
            {"model_a": "net", "model_b": "age", "metric": "added_log_hazard_ratio", "difference": 0.0,
             "ci_low": -0.69314718, "ci_high": 0.69314718, "p_value": 0.1, **common},
        ]
    )  # fmt: skip
    (difference,) = tables.comparisons_on_page(rows)["Difference in C-index"]
    assert difference.startswith("0.100")
    (ratio,) = tables.added_value_on_page(rows)["Hazard ratio per SD"]
    assert ratio == "1.000 (0.50–2.00)"


def test_masks_and_class_outcomes_are_tables_of_their_own() -> None:
    metrics = pd.DataFrame(
        [
            {
                "model": "net",
                "set": "external",
                "metric": m,
                "value": v,
                "ci_low": v - 0.1,
                "ci_high": v + 0.1,
                "patients": 9,
                "events": 5,
            }
            for m, v in (("hd95_mm", 4.0), ("label_lung_metastasis_auc", 0.7), ("c_index", 0.6))
        ]
    )
    wide = tables.performance(metrics, [365.25], "days")
    assert list(wide["masks"].columns) == ["Set", "Model", "HD95, mm", "Patients"]
    assert list(wide["labels"].columns) == ["Set", "Model", "Lung metastasis, AUC", "Patients"]
    assert wide["masks"].iloc[0].tolist()[-1] == "9"
    assert wide["calibration"].empty
