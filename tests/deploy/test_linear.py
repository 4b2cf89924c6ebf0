"""Risks from coefficients in JSON equal those of the models fitted in the study."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from pipeline.deploy.linear import linear_risk, survival, z_score
from pipeline.deploy.manifest_members import BaselineHazard, LinearFold, ScaledFeature, ZScale
from pipeline.errors import ModelError
from pipeline.metrics.baseline import breslow
from pipeline.settings.kinds import KINDS
from pipeline.settings.models import read_model
from pipeline.survival.deep_feature_blocks import fit_estimator
from pipeline.survival.estimator import Context
from pipeline.survival.patients import Patients
from pipeline.tables.clinical import ClinicalEncoder
from tests.deploy.synthetic_bundle import make_fold

NAMES = (*(f"ct_original_shape_f{i}" for i in range(8)), "pet_index_volume_ml")
CLINICAL = ["clinical_age", "clinical_stage"]


def patients(count: int, seed: int) -> Patients:
    """A cohort with missing features, ages and stages."""
    rng = np.random.default_rng(seed)
    features = rng.normal(3, 2, (count, len(NAMES)))
    features[:, -1] = np.exp(rng.normal(2, 0.5, count))
    hazard = 0.6 * (features[:, 0] - 3) + 0.8 * np.log(features[:, -1])
    features[rng.random((count, len(NAMES))) < 0.04] = np.nan
    features[:, -1] = np.where(np.isnan(features[:, -1]), 7.0, features[:, -1])
    table = pd.DataFrame(
        {
            "time_days": rng.exponential(900, count) * np.exp(-hazard + hazard.mean()),
            "event": (rng.random(count) < 0.7).astype(int),
            "centre": "one",
            "clinical_age": np.where(rng.random(count) < 0.1, np.nan, rng.normal(60, 8, count)),
            "clinical_stage": rng.choice(["II", "III", "IV"], count),
        },
        index=pd.Index([f"p{i}" for i in range(count)], name="patient_id"),
    )
    table.loc[table.index[3], "clinical_stage"] = None
    return Patients(table, features, NAMES)


MODELS = [
    {"kind": "clinical_cox", "clinical": CLINICAL},
    {"kind": "feature", "feature": "pet_index_volume_ml", "log": True},
    {"kind": "feature", "feature": "pet_index_vol*", "log": False, "clinical": CLINICAL},
    {"kind": "lasso_cox", "clinical": CLINICAL},
    {"kind": "univariate"},
    {"kind": "hecktor_cox", "clinical": ["clinical_age"]},
    {"kind": "signed_bagging", "members": 20},
]


@pytest.mark.parametrize("settings", MODELS, ids=lambda s: s["kind"])
def test_a_risk_from_json_is_the_fitted_models(settings: dict) -> None:
    train, new = patients(70, 0), patients(9, 1)
    model = read_model(settings)
    fitted = fit_estimator(model, train, Context(5))
    report = json.loads(json.dumps(fitted.report))
    assert report["coefficients"], "a model shrunk to nothing tests nothing"
    clinical = ClinicalEncoder.from_state(report["design"]["clinical"])
    fold = LinearFold(
        coefficients=dict.fromkeys(clinical.names(), 0.0) | report["coefficients"],
        features=tuple(
            ScaledFeature(name=n, median=median, mean=mean, sd=sd)
            for n, median, mean, sd in report["design"]["features"]
        ),
        clinical=clinical,
        scale=ZScale(mean=0, sd=1),
        hazard=BaselineHazard(times_days=(), cumulative_hazard=(), centre=0, last_days=1),
    )
    expected = fitted.score(new)
    risks = [
        linear_risk(
            fold,
            dict(zip(NAMES, new.features[i].tolist(), strict=True)),
            new.table[["clinical_age", "clinical_stage"]].iloc[[i]],
            log=bool(settings.get("log", False)),
        )
        for i in range(len(new))
    ]
    assert np.isnan(new.features).any() and risks == pytest.approx(expected.tolist(), abs=1e-10)


def test_every_kind_that_is_packed_is_tested() -> None:
    assert {settings["kind"] for settings in MODELS} == {
        kind.model_fields["kind"].default for kind in KINDS if kind.is_linear
    }


def test_by_hand() -> None:
    clinical = pd.DataFrame({"clinical_age": [81.0], "clinical_stage": ["III"]})
    risk = linear_risk(make_fold(), {"pet_index_volume_ml": 6.0}, clinical)
    assert risk == pytest.approx(0.5 * 2 + 1 + 2 * 1)
    # A missing volume is the median 5, an unknown stage the reference level.
    clinical = pd.DataFrame({"clinical_age": [np.nan], "clinical_stage": [None]})
    assert linear_risk(make_fold(), {"pet_index_volume_ml": math.nan}, clinical) == pytest.approx(-0.05 + 1)
    with pytest.raises(ModelError, match="was not extracted"):
        linear_risk(make_fold(), {"other": 1.0}, clinical)
    with pytest.raises(ModelError, match="no logarithm"):
        linear_risk(make_fold(), {"pet_index_volume_ml": 0.0}, clinical, log=True)


def test_survival_is_breslows() -> None:
    rng = np.random.default_rng(0)
    time, event, risk = rng.exponential(500, 50), rng.random(50) < 0.6, rng.normal(0, 1, 50)
    base = breslow(time, event.astype(float), 0.7 * risk)
    hazard = BaselineHazard(
        times_days=tuple(base.times.tolist()), cumulative_hazard=tuple(base.hazard.tolist()),
        centre=base.centre, last_days=base.last, slope=0.7,
    )  # fmt: skip
    probabilities = survival(hazard, 1.3, (100.0, 400.0, 1e6))
    expected = base.survival(np.array([0.7 * 1.3]), np.array([100.0, 400.0]))[0]
    assert probabilities[:2] == pytest.approx(expected.tolist(), abs=1e-14) and math.isnan(probabilities[2])


def test_z_scores() -> None:
    assert z_score(ZScale(mean=1, sd=2), 5) == 2 and z_score(ZScale(mean=1, sd=0), 5) == 0
