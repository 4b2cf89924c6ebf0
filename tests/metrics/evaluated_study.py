"""A study of predictions of known worth, for the tests of `evaluate`."""

import csv
import json

import numpy as np
import pandas as pd

from pipeline.metrics.evaluate import COLUMNS, evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.settings.evaluation import EvaluationSettings
from pipeline.tables.splits import Fold, Splits, write_splits

SETTINGS = EvaluationSettings(horizons_days=(365.25, 730.5), bootstraps=200)


class Study:
    def __init__(self, folder, seed=0, n=90, external=40):
        generator = np.random.default_rng(seed)
        self.folder, self.ids = folder, [f"P{i:03d}" for i in range(n + external)]
        self.hazard = generator.normal(size=n + external)
        died = generator.exponential(900 * np.exp(-self.hazard)) + 1
        left = generator.uniform(100, 3000, n + external)
        self.cohort = pd.DataFrame(
            {
                "set": ["development"] * n + ["external"] * external,
                "centre": "A",
                "time_days": np.minimum(died, left),
                "event": (died <= left).astype(int),
            },
            index=pd.Index(self.ids, name="patient_id"),
        )
        self.fold = np.r_[np.arange(n) % 3, np.full(external, -1)]
        held = [tuple(np.array(self.ids)[self.fold == k]) for k in range(3)]
        folds = [Fold(tuple(p for j in range(3) if j != k for p in held[j]), (), held[k]) for k in range(3)]
        self.cohort.to_parquet(folder / "cohort.parquet")
        write_splits(folder / "splits.json", Splits(tuple(folds), tuple(self.ids[n:]), 0))

    def model(self, name, risk, members=("m",), caveats=(), **columns):
        frame = pd.DataFrame(
            {
                "patient_id": self.ids,
                "set": self.cohort["set"].to_numpy(),
                "fold": self.fold,
                "risk": risk,
                "spread": 0.1,
            }
        )
        for days in SETTINGS.horizons_days:
            frame[f"survival_{days:g}d"] = np.exp(-np.exp(self.hazard) * days / 900)
        path = self.folder / f"{name}.parquet"
        # Rows in another order: nothing may rest on it.
        frame.assign(**columns).sample(frac=1, random_state=3).to_parquet(path, index=False)
        info = {
            "caveats": list(caveats),
            "members": {m: [{"fold": k, "from": "validation"} for k in range(3)] for m in members},
            "folds": [{"fold": k, "train_quantiles": {"0.5": 0.1 * k, "0.333333": -0.5, "0.666667": 0.5}}
                      for k in range(3)],
        }  # fmt: skip
        path.with_suffix(".json").write_text(json.dumps(info))
        return path

    def run(self, models, settings=SETTINGS, detectors=None, permutations=None):
        out = self.folder / "metrics"
        cohort, splits = self.folder / "cohort.parquet", self.folder / "splits.json"
        sources = Sources(cohort, splits, detectors or {}, permutations or {})
        evaluate(models, sources, settings, 5, out)
        tables = {}
        for name in COLUMNS:
            with (out / f"{name}.csv").open() as stream:
                tables[name] = list(csv.DictReader(stream))
        return tables


def value(rows, metric, model="truth", which="development", column="value"):
    (row,) = [r for r in rows if (r["model"], r["set"], r["metric"]) == (model, which, metric)]
    return float(row[column]) if row[column] else float("nan")
