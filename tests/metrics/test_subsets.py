"""Models of a part of the cohort are judged on that part, beside those of the whole."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.tables.splits import Splits, read_splits, write_splits
from tests.metrics.evaluated_study import SETTINGS, Study


def test_each_model_is_judged_on_its_own_patients(tmp_path: Path) -> None:
    study = Study(tmp_path)  # type: ignore[no-untyped-call]
    splits = read_splits(tmp_path / "splits.json")
    part = tuple(study.ids[::3])
    write_splits(
        tmp_path / "splits.json", Splits(splits.folds, splits.external, splits.seed, {"third": part})
    )
    paths = {}
    for name, ids in (("whole", study.ids), ("part", part)):
        dice = pd.Series(np.linspace(0.5, 0.9, len(study.ids)), index=study.ids)[list(ids)]
        rows = [study.ids.index(p) for p in ids]
        frame = pd.DataFrame(
            {"patient_id": ids, "set": study.cohort["set"].to_numpy()[rows], "fold": study.fold[rows]}
        ).assign(dice=dice.to_numpy())
        paths[name] = tmp_path / f"{name}.parquet"
        frame.to_parquet(paths[name], index=False)
        paths[name].with_suffix(".json").write_text(json.dumps({"caveats": [], "members": {}, "folds": []}))
    risk = study.model("risk", study.hazard)  # type: ignore[no-untyped-call]
    sources = Sources(tmp_path / "cohort.parquet", tmp_path / "splits.json", subsets={"part": "third"})
    evaluate({**paths, "risk": risk}, sources, SETTINGS, 5, tmp_path / "metrics")
    with (tmp_path / "metrics" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    value = {
        (r["model"], r["set"]): (float(r["value"]), int(r["patients"])) for r in rows if r["metric"] == "dice"
    }
    of_all = pd.Series(np.linspace(0.5, 0.9, len(study.ids)), index=study.ids)
    for which, ids in (("development", study.ids[:90]), ("external", study.ids[90:])):
        assert value["whole", which] == (pytest.approx(of_all[ids].mean()), len(ids))
        members = [p for p in ids if p in part]
        assert value["part", which] == (pytest.approx(of_all[members].mean()), len(members))
    adjusted = [r for r in rows if r["metric"] == "logrank_p_holm"]
    assert len(adjusted) == 2, "once a set, though a set is met twice"
    with (tmp_path / "metrics" / "observed.csv").open() as stream:
        times = [(r["set"], r["time"]) for r in csv.DictReader(stream)]
    assert len(times) == len(set(times))
