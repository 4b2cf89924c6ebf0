"""Features that are not stable under perturbed contours are left out, as training patients show them."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from pipeline.errors import ModelError
from pipeline.metrics.stability import PerturbedFeatures
from pipeline.settings.models import read_model
from pipeline.survival.deep_feature_blocks import fit_estimator
from pipeline.survival.estimator import Context
from pipeline.survival.model_job import ModelJob
from pipeline.survival.patients import load_patients
from pipeline.survival.survival import fit_model

UNSTABLE = [f"pet_f{i}" for i in range(1, 20, 2)]


def settings(**given):
    return read_model(given)


def perturbed_table(study, unstable=UNSTABLE):
    """Nine perturbations: values move by 1 % of the spread, those of unstable features by all of it."""
    generator = np.random.default_rng(3)
    parts = []
    for number in range(9):
        noise = generator.normal(size=study.table.shape) * study.table.std().to_numpy()
        scale = np.where(study.table.columns.isin(unstable), 1.0, 0.01)
        parts.append((study.table + noise * scale).assign(perturbation=f"p{number}"))
    return pd.concat(parts).rename_axis("patient_id").reset_index()


def fold_of(study, name):
    return study.folder / name / "fold0"


def report(folder):
    return json.loads((folder / "model.json").read_text())


def job(study, model, **more):
    return ModelJob("m", model, study.features, study.outcomes, study.splits, (365.25,), seed=7, **more)


def test_unstable_features_are_not_offered(make_study):
    study = make_study(strength=2.0)
    path = study.folder / "stability.parquet"
    perturbed_table(study, ["pet_f0", "pet_f2"]).to_parquet(path)
    model = {"kind": "lasso_cox", "spearman": 1.0}
    fit_model(job(study, settings(**model)), study.folder / "all")
    fit_model(job(study, settings(**model, min_icc=0.9), stability=path), study.folder / "stable")
    # pet_f0 carries the outcome.
    assert "pet_f0" in report(fold_of(study, "all"))["coefficients"]
    stable = report(fold_of(study, "stable"))
    assert not {"pet_f0", "pet_f2"} & set(stable["coefficients"])
    train = len(study.folds.folds[0].train)
    assert stable["stability"] == {"min_icc": 0.9, "patients": train, "unstable": 2, "features": 20}


@pytest.mark.parametrize("kind", ["lasso_cox", "signed_bagging"])
def test_agreement_is_learned_from_training_patients_alone(kind, make_study):
    """Changing test patients' perturbed values changes nothing; a filter that saw them would."""
    study = make_study()
    path, table = study.folder / "stability.parquet", perturbed_table(study)
    model = settings(kind=kind, min_icc=0.8)
    outputs = []
    for name in ("before", "after"):
        table.to_parquet(path)
        fit_model(job(study, model, stability=path), study.folder / name)
        frame = pd.read_parquet(fold_of(study, name) / "predictions.parquet").set_index("patient_id")
        outputs.append((frame, report(fold_of(study, name))))
        others = table["patient_id"].isin([*study.folds.folds[0].test, *study.folds.external])
        swapped = {f"pet_f{i}": table[f"pet_f{i ^ 1}"] for i in range(20)}
        table = table.assign(**{c: np.where(others, v * 50, table[c]) for c, v in swapped.items()})
    pd.testing.assert_frame_equal(outputs[0][0], outputs[1][0])
    assert outputs[0][1] == outputs[1][1]

    # The leaky variant: agreement among all patients.
    patients = load_patients(study.outcomes, study.features)
    training = patients.select(study.folds.folds[0].train)
    perturbed = PerturbedFeatures.read(path)
    honest, leaky = (
        set(agreement["feature"][agreement["icc_low"] >= 0.8])
        for agreement in (
            perturbed.agreement(training.table.index),
            perturbed.agreement(patients.table.index),
        )
    )
    assert honest == {f"pet_f{i}" for i in range(0, 20, 2)} != leaky
    fitted = fit_estimator(model, training, Context(7, perturbed=perturbed))
    assert fitted.report["stability"]["unstable"] == 20 - len(honest)


def test_min_icc_without_perturbations_is_refused(make_study):
    study = make_study()
    with pytest.raises(ModelError, match="perturbed contours"):
        fit_model(job(study, settings(kind="lasso_cox", min_icc=0.5)), study.folder / "out")
    path = study.folder / "stability.parquet"
    held = study.folds.folds[0].test
    table = perturbed_table(study)
    table[table["patient_id"].isin(held)].to_parquet(path)
    with pytest.raises(ModelError, match="too few training patients"):
        fit_model(job(study, settings(kind="lasso_cox", min_icc=0.5), stability=path), study.folder / "out")


def test_contours_and_their_network_belong_together():
    with pytest.raises(ValidationError, match="belongs to contour"):
        settings(kind="lasso_cox", contour="predicted")
    with pytest.raises(ValidationError, match="belongs to contour"):
        settings(kind="lasso_cox", contour_network="net")
    with pytest.raises(ValidationError, match="whole contours"):
        settings(kind="lasso_cox", contour="peritumoral", min_icc=0.5)
