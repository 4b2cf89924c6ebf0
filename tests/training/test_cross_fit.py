"""Networks trained without a part of the training patients, and a classical model on their features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.planning.cross_splits import write_cross_splits
from pipeline.settings.classical import LassoCox
from pipeline.survival.deep_feature_blocks import DeepSource
from pipeline.survival.survival import ModelJob, fit_model
from pipeline.tables.splits import read_splits
from pipeline.training.job import FoldJob
from pipeline.training.train_fold import train_fold


def test_from_cross_networks_to_predictions(job: Callable[..., FoldJob], study: Path, tmp_path: Path) -> None:
    cross = tmp_path / "cross_splits.json"
    write_cross_splits(study / "splits.json", study / "cohort.parquet", 2, 0, cross)
    folds = len(read_splits(study / "splits.json").folds)
    tables = []
    for m in range(2 * folds):
        out = tmp_path / f"cross{m}"
        train_fold(job(splits=cross, fold=m, iterations=2, outputs=("deep_features",)), out)
        tables.append(out / "deep_features.parquet")
    model = LassoCox(features=(), deep="net", spearman=0.9, l1_ratio=0.5)
    fit = ModelJob(
        "deep",
        model,
        None,
        study / "cohort.parquet",
        study / "splits.json",
        (365.25,),
        seed=1,
        deep=DeepSource(tuple(tables), cross),
    )
    fit_model(fit, tmp_path / "deep")
    for k in range(folds):
        frame = pd.read_parquet(tmp_path / "deep" / f"fold{k}" / "predictions.parquet")
        assert np.isfinite(frame["risk"]).all()
        assert set(frame["set"]) == {"train", "validation", "test", "external"}
