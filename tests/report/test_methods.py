"""The methods section says what was run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.methods import CLASSICAL, _classical, methods
from pipeline.settings.classical import LassoCox
from pipeline.settings.kinds import KINDS
from pipeline.settings.plan import PlanSettings
from tests.report.synthetic_study import make_study


def test_methods_name_every_kind_of_classical_model() -> None:
    """A new kind without a sentence of its own would be an error in the report."""
    classical = {str(kind.model_fields["kind"].default): kind for kind in KINDS if not kind.is_network}
    assert set(classical) == set(CLASSICAL)
    for name, model in classical.items():
        values = {"column": {"column": "c"}}.get(
            name, {"label": "label_x"} if "labels" in model.GIVES else {}
        )
        assert "{" not in _classical(model(**values))


@pytest.mark.parametrize(("z_scores", "basis"), [("training", "training and validation"), ("test", "test")])
def test_methods_say_whose_z_scores_they_are(tmp_path: Path, z_scores: str, basis: str) -> None:
    job = make_study(tmp_path / "results")
    evaluation = job.settings.evaluation.model_copy(update={"z_scores": z_scores})
    changed = replace(job, settings=job.settings.model_copy(update={"evaluation": evaluation}))
    assert f"mean and SD of that fold's {basis} patients" in dict(methods(changed))["Ensembles"]


@pytest.mark.parametrize(
    ("plan", "given", "said", "not_said"),
    [
        ({"folds": 2}, False, ["patients stratified by event", "20% of each fold's"], "column split"),
        ({"folds": 2}, True, ["test patients of each fold as the cohort table's", "20%"], "stratified"),
        ({"folds": 2, "by_centre": True}, True, ["column split gives them"], "whole centres"),
        (
            {"folds": 1, "repeats": 3},
            False,
            ["3 times with other validation patients", "20%"],
            "column split",
        ),
        ({"folds": 1, "repeats": 3}, True, ["3 times with the same validation", "column split names"], "20%"),
    ],
)
def test_methods_say_who_divided_the_patients(
    tmp_path: Path, plan: dict[str, Any], given: bool, said: list[str], not_said: str
) -> None:
    job = make_study(tmp_path / "results")
    settings = job.settings.model_copy(update={"plan": PlanSettings(**plan)})
    text = dict(methods(replace(job, settings=settings, split_given=given)))["Validation"]
    assert all(words in text for words in said) and not_said not in text


def test_methods_say_that_groups_stay_whole(tmp_path: Path) -> None:
    job = make_study(tmp_path / "results")
    plain, grouped = dict(methods(job)), dict(methods(job, grouped=True))
    assert "resamples of patients;" in plain["Statistics"] and "group" not in plain["Validation"]
    assert "resamples of whole groups" in grouped["Statistics"]
    assert "one side of every split" in grouped["Validation"]


def test_methods_say_whose_contour_and_what_was_left_out() -> None:
    plain = _classical(LassoCox(spearman=1.0))
    predicted = LassoCox(contour="predicted", contour_network="deepmts", min_icc=0.75, spearman=1.0)
    assert _classical(predicted).startswith(plain + " Features are of contours drawn by deepmts")
    assert "the fold that held them out" in _classical(predicted) and "reached 0.75" in _classical(predicted)
    assert "shell" in _classical(LassoCox(contour="peritumoral"))
    filtered = _classical(LassoCox(spearman=0.8, deep="net", harmonise="combat"))
    assert "above 0.8" in filtered and "deep features of net" in filtered and "ComBat" in filtered
