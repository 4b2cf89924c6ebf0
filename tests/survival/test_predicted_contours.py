"""Models on contours that a network predicted: each patient with the contour of a network that has not seen it."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.settings.models import read_model
from pipeline.survival.model_job import ModelJob
from pipeline.survival.survival import fit_model


def settings(**given):
    return read_model(given)


def report(folder):
    return json.loads((folder / "model.json").read_text())


def job(study, model, **more):
    return ModelJob("m", model, study.features, study.outcomes, study.splits, (365.25,), seed=7, **more)


def predicted_tables(study, caveats=()):
    """Tables as `radiomics_predicted` writes them; fold k's values of external patients are k times theirs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for fold, of_fold in enumerate(study.folds.folds):
        ids = [*of_fold.test, *study.folds.external]
        sets = ["test"] * len(of_fold.test) + ["external"] * len(study.folds.external)
        frame = study.table.loc[ids].reset_index(names="patient_id")
        frame.insert(1, "fold", fold)
        frame.insert(2, "set", sets)
        frame.loc[frame["set"] == "external", "pet_f0"] *= 1 + fold
        table = pa.Table.from_pandas(frame, preserve_index=False)
        paths.append(study.folder / f"predicted{fold}.parquet")
        pq.write_table(table.replace_schema_metadata({b"caveats": json.dumps(list(caveats))}), paths[-1])
    return tuple(paths)


def test_predicted_contours_give_each_fold_its_own_external_features(make_study):
    study = make_study()
    model = settings(kind="feature", feature="pet_f0", contour="predicted", contour_network="net")
    done = job(study, model, predicted=predicted_tables(study, ["chosen on held-out"]))
    fit_model(done, study.folder / "out")
    manual = settings(kind="feature", feature="pet_f0")
    fit_model(job(study, manual), study.folder / "manual")
    for fold in range(3):
        predicted, manual_risk = (
            pd.read_parquet(study.folder / name / f"fold{fold}" / "predictions.parquet").set_index(
                "patient_id"
            )["risk"]
            for name in ("out", "manual")
        )
        development = list(study.cohort.index[study.cohort["set"] == "development"])
        pd.testing.assert_series_equal(predicted[development], manual_risk[development])
        coefficient = report(study.folder / "manual" / f"fold{fold}")["coefficients"]["pet_f0"]
        shift = (predicted - manual_risk)[list(study.folds.external)]
        # The feature's logarithm is shifted by log(1 + fold) for every external patient.
        assert np.ptp(shift) < 1e-9 and (np.abs(shift) > 1e-6).all() == (fold > 0)
        assert np.sign(shift.iloc[0]) == np.sign(coefficient) or fold == 0
        assert report(study.folder / "out" / f"fold{fold}")["caveats"] == ["contours: chosen on held-out"]


def test_a_table_with_in_fold_contours_stops_the_model(make_study):
    study = make_study()
    paths = predicted_tables(study)
    leaky = pd.read_parquet(paths[0])
    # Fold 0's network drew the contour of a patient it was trained on.
    leaky.loc[0, "patient_id"] = study.folds.folds[0].train[0]
    leaky.to_parquet(paths[0])
    model = settings(kind="univariate", contour="predicted", contour_network="net")
    with pytest.raises(TableError, match="has seen the patients"):
        fit_model(job(study, model, predicted=paths), study.folder / "out")
