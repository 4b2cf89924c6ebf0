"""Class probabilities of a bundle's logistic regressions equal those of the models fitted in the study."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.deploy.linear import class_probabilities
from pipeline.deploy.manifest import BundleError
from pipeline.deploy.manifest_members import LogisticFold, LogisticMember, Member
from pipeline.deploy.members import MemberFolds, pack_member, require_packable
from pipeline.deploy.predict import MemberScores
from pipeline.settings.models import read_model
from pipeline.survival.deep_feature_blocks import fit_estimator
from pipeline.survival.estimator import Context
from tests.deploy.synthetic_bundle import CLINICAL, make_manifest
from tests.deploy.test_linear import CLINICAL as COLUMNS
from tests.deploy.test_linear import NAMES, patients

PLAIN = {"kind": "logistic", "label": "label_x", "harmonise": "none", "strengths": [0.3], "clinical": COLUMNS}
MODELS = [PLAIN, {**PLAIN, "penalty": "lasso"}, {**PLAIN, "classes": 3}]


def labelled(count: int, seed: int, classes: int):
    """Patients whose class follows their first feature."""
    found = patients(count, seed)
    first = np.nan_to_num(found.features[:, 0], nan=3.0) + np.random.default_rng(seed).normal(size=count)
    cuts = np.quantile(first, np.linspace(0, 1, classes + 1)[1:-1])
    return replace(found, table=found.table.assign(label_x=np.searchsorted(cuts, first).astype(float)))


@pytest.mark.parametrize("spec", MODELS, ids=["ridge", "lasso", "three classes"])
def test_probabilities_from_json_are_those_of_the_fitted_model(spec: dict, tmp_path: Path) -> None:
    model = read_model(spec)
    folders, fits = [], []
    for fold in (0, 1):
        fits.append(fit_estimator(model, labelled(80, fold, model.classes), Context(5)))
        folder = tmp_path / f"fold{fold}"
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps(fits[-1].report))
        folders.append(folder)
    packed = pack_member(MemberFolds("m", model, tuple(folders), ()), tmp_path)
    # As the manifest's JSON holds it.
    member = TypeAdapter(Member).validate_json(packed.model_dump_json())
    assert isinstance(member, LogisticMember) and not member.predicts_survival()
    new = patients(9, 7)
    for fold, fitted in zip(member.folds, fits, strict=True):
        expected = fitted.score(new)
        for i, name in enumerate(new.table.index):
            features = dict(zip(NAMES, new.features[i], strict=True))
            given = class_probabilities(member, fold, features, new.table.loc[[name]])
            if model.classes == 2:
                assert given == {"label_x": pytest.approx(expected[i, 1])}
            else:
                assert given == {f"label_x_{k}": pytest.approx(expected[i, k]) for k in range(3)}


def test_folds_and_models_are_averaged() -> None:
    scores = MemberScores(labels=[{"label_x": 0.2}, {"label_x": 0.6}])
    assert scores.mean_labels() == {"label_x": pytest.approx(0.4)}


def make_logistic(**changes) -> LogisticFold:
    columns = dict.fromkeys(CLINICAL.names(), 0.0)
    values = {
        "intercepts": {"1": 0.1},
        "log_odds_ratios": {"1": columns},
        "features": (),
        "clinical": CLINICAL,
    }
    return LogisticFold(**{**values, **changes})


def test_a_manifest_holds_a_logistic_model_alone_without_anything_of_survival() -> None:
    member = LogisticMember(label="label_x", folds=(make_logistic(),))
    cohort = make_manifest().cohort.model_copy(update={"risk_percentiles": ()})
    manifest = make_manifest(members={"m": member}, risk_cuts=(), cohort=cohort)
    assert manifest.logistic_models() == {"m": member} and not manifest.linear_models()
    assert manifest.number_columns() == {"clinical_age"}


@pytest.mark.parametrize(
    "changes",
    [
        {"intercepts": {"0": 0.1}, "log_odds_ratios": {"0": {}}},
        {"intercepts": {"1": 0.1, "2": 0.2}},
        {"intercepts": {"1": float("nan")}},
        {"log_odds_ratios": {"1": {"clinical_age": 1.0}}},
    ],
)
def test_impossible_values_are_refused(changes: dict) -> None:
    with pytest.raises(ValidationError):
        make_logistic(**changes)


def test_trees_and_folds_without_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"trees \(label_forest\) is neither a network nor linear"):
        require_packable({"trees": read_model({"kind": "label_forest", "label": "label_x"})})
    require_packable({"m": read_model(PLAIN)})
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(BundleError, match="does not say how its columns are scaled"):
        pack_member(MemberFolds("m", read_model(PLAIN), (tmp_path,), ()), tmp_path)
