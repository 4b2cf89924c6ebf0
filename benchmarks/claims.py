"""Do the papers' claims hold where the truth is known? (`benchmarks/claims.yaml` says what was fixed beforehand.)

    python -m benchmarks.claims --out results/claims --processes 2

Each seed is a cohort of its own: phantom patients painted on the crop's grid (registered without error, so that
nothing but the networks differs), one split, external patients to judge. A network's learning rate is the one with
the best mean C-index of validation patients over the tuned seeds. Reported is, of each claim, the mean difference of
the external C-index over the reported seeds, with a t interval over these seeds (each has its own patients and
weights) and, from its spread, the number of such cohorts that would tell a difference of 0.01. Every network's run is
kept in `--out`; the same command goes on where it was stopped. Needs PyTorch, numpy, scipy, pandas, pydantic, zarr.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.metrics.concordance import concordance_index
from pipeline.phantoms.anatomy import paint_ct, paint_pet
from pipeline.phantoms.patient import SITE_MM, PhantomPatient, draw_patient
from pipeline.phantoms.phantom import tumour_mask
from pipeline.phantoms.scanner import measure_ct, measure_pet
from pipeline.phantoms.tumour import TumourField
from pipeline.planning.exclusions import gather_problems
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan
from pipeline.settings.phantom import PhantomSettings
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop
from pipeline.tables.cohort import Patient
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.predictions import read_predictions
from pipeline.volumes.volume import Grid

FILE = Path(__file__).with_suffix(".yaml")
TOLD = 0.01
"""Difference of C-indices whose detection is asked for."""


@dataclass(frozen=True)
class Run:
    """One network of one cohort: name of the model, seed, learning rate."""

    model: str
    seed: int
    learning_rate: float

    def folder(self, out: Path) -> Path:
        """Where its result is kept."""
        return out / f"seed{self.seed}" / f"{self.model}_{self.learning_rate:g}"


def crop_grid(fixed: dict[str, Any]) -> Grid:
    """The crop's grid in template space, its middle where tumours lie on average."""
    shape, spacing = tuple(fixed["crop"]["shape"]), tuple(fixed["crop"]["spacing_mm"])
    origin = [c - (n - 1) / 2 * s for c, n, s in zip(SITE_MM, shape[::-1], spacing[::-1], strict=True)]
    return Grid(shape, spacing, (origin[0], origin[1], origin[2]))


def crop_of(patient: PhantomPatient, settings: PhantomSettings, grid: Grid) -> Crop:
    """PET (g/mL) and CT (HU) of a patient with the tumour's mask."""
    field, rigid = TumourField(patient.tumour), np.eye(4)
    pet = measure_pet(paint_pet(patient, field, grid, rigid), patient, settings)
    ct = measure_ct(paint_ct(patient, field, grid, rigid), patient, settings)
    about = CropAttributes(
        patient.patient_id, ("pet", "ct"), ("g/mL", "HU"), grid.spacing_mm, grid.origin_mm, contour="manual"
    )
    inside = np.ones(grid.shape, dtype=np.uint8)
    return Crop(np.stack([pet, ct]).astype(np.float32), tumour_mask(field, grid, rigid), inside, about)


def make_cohort(fixed: dict[str, Any], seed: int, root: Path) -> None:
    """Crops, splits and outcomes of a seed's patients; nothing where they are there."""
    if (root / "cohort.parquet").is_file():
        return
    settings = PhantomSettings(seed=seed, **fixed["phantom"])
    grid, people = crop_grid(fixed), []
    for number in range(1, settings.development + settings.external + 1):
        drawn = draw_patient(number, settings)
        write_crop(root / "crops" / f"{drawn.patient_id}.zarr", crop_of(drawn, settings, grid))
        early = int(bool(drawn.event) and drawn.time_days <= fixed["outcome_days"])
        extra = {
            "clinical_performance": str(drawn.performance),
            "label_outcome": str(early),
            "truth_log_hazard": f"{drawn.log_hazard:.6f}",
            "truth_volume_ml": f"{drawn.tumour.volume_ml:.4f}",
        }
        people.append(
            Patient(
                drawn.patient_id, drawn.set, drawn.centre, "-", "", drawn.time_days, drawn.event, extra=extra
            )
        )
    stages = {p.patient_id: [root / "crops" / f"{p.patient_id}.zarr"] for p in people}
    gather_problems(stages, {}, root / "problems.csv")
    plan = PlanSettings(folds=1, validation_fraction=fixed["validation_fraction"])
    make_plan(
        PlanJob(tuple(people), root / "problems.csv", plan, seed=seed),
        PlanPaths(root / "splits.json", root / "cohort.parquet"),
    )


def train(fixed: dict[str, Any], run: Run, out: Path) -> None:
    """Train a network and keep the C-indices of its validation and external patients."""
    from pipeline.settings.kinds import read_models
    from pipeline.settings.network import Network
    from pipeline.training.context import FoldJob
    from pipeline.training.train_fold import train_fold

    folder, root = run.folder(out), out / f"seed{run.seed}"
    if (folder / "c_index.json").is_file():
        return
    schedule = {"kind": "cosine", "learning_rate": run.learning_rate}
    training = TrainingSettings(**{**fixed["training"], "schedule": schedule})
    network = read_models(fixed["models"])[run.model]
    assert isinstance(network, Network)
    job = FoldJob(
        model=run.model, network=network, training=training, crops=root / "crops", outcomes=root / "cohort.parquet",
        splits=root / "splits.json", fold=0, horizons_days=(730.5,), seed=run.seed, threads=1,
        work=root / "checkpoints" / folder.name,
    )  # fmt: skip
    train_fold(job, folder / "fold")
    scores = c_indices(root, folder / "fold" / "predictions.parquet")
    (folder / "c_index.json").write_text(json.dumps(scores) + "\n", encoding="utf-8")


def c_indices(root: Path, predictions: Path) -> dict[str, float]:
    """C-index of validation and external patients; a network of labels ranks by the label's probability."""
    table = read_predictions(predictions).set_index("patient_id")
    outcomes = read_outcomes(root / "cohort.parquet")
    risk = table["risk" if "risk" in table else "label_outcome"].astype(float)
    return {
        chosen: c_index(outcomes, risk[(table["set"] == chosen) & risk.notna()])
        for chosen in ("validation", "external")
    }


def c_index(outcomes: Any, risk: Any) -> float:
    """Harrell's C-index of these patients."""
    rows = outcomes.loc[risk.index]
    arrays = (rows["time_days"].to_numpy(float), rows["event"].to_numpy(int), risk.to_numpy(float))
    return float(concordance_index(*arrays))


def kept(run: Run, out: Path) -> dict[str, float]:
    """C-indices of a run that has ended."""
    scores: dict[str, float] = json.loads((run.folder(out) / "c_index.json").read_text())
    return scores


def chosen_rates(fixed: dict[str, Any], out: Path) -> dict[str, float]:
    """Learning rate of each model: the best mean C-index of validation patients over the tuned seeds."""
    best = {}
    for model in fixed["models"]:
        means = {
            rate: np.mean(
                [kept(Run(model, seed, rate), out)["validation"] for seed in fixed["seeds"]["tuned"]]
            )
            for rate in fixed["learning_rates"]
        }
        best[model] = max(means, key=lambda rate: means[rate])
    return best


def difference(values: np.ndarray) -> tuple[float, float, float, int]:
    """Mean of paired differences, its 95 % t interval, and the cohorts that would tell 0.01 with 80 % power."""
    from scipy.stats import t

    mean, spread = float(values.mean()), float(values.std(ddof=1))
    half = float(t.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5
    return mean, mean - half, mean + half, int(np.ceil(((1.96 + 0.84) * spread / TOLD) ** 2))


def report(fixed: dict[str, Any], rates: dict[str, float], out: Path) -> str:
    """Markdown tables: every model's external C-index by seed, and every claim with what it comes to."""
    seeds = fixed["seeds"]["reported"]
    external = {m: np.array([kept(Run(m, s, rates[m]), out)["external"] for s in seeds]) for m in rates}
    for name, column in (("true hazard", "truth_log_hazard"), ("volume alone", "truth_volume_ml")):
        external[name] = np.array([c_of_truth(out / f"seed{seed}", column) for seed in seeds])
    lines = ["| model | learning rate | " + " | ".join(f"seed {s}" for s in seeds) + " | mean |"]
    lines.append("|---" * (len(seeds) + 3) + "|")
    for name, values in external.items():
        cells = " | ".join(f"{v:.3f}" for v in values)
        lines.append(f"| {name} | {rates.get(name, '')} | {cells} | {values.mean():.3f} |")
    lines += [
        "",
        f"| claim | difference (95 % interval) | cohorts that tell {TOLD} | says |",
        "|---|---|---|---|",
    ]
    for claim in fixed["claims"]:
        mean, low, high, needed = difference(external[claim["better"]] - external[claim["worse"]])
        says = "better" if low > 0 else "worse" if high < 0 else "no evidence of a difference"
        lines.append(f"| {claim['says']} | {mean:+.3f} ({low:+.3f} to {high:+.3f}) | {needed} | {says} |")
    return "\n".join(lines) + "\n"


def c_of_truth(root: Path, column: str) -> float:
    """C-index of a column of the truth among a seed's external patients."""
    outcomes = read_outcomes(root / "cohort.parquet")
    external = outcomes[outcomes["set"] == "external"]
    return c_index(outcomes, external[column].astype(float))


def _job(task: tuple[dict[str, Any], Run, Path]) -> Run:
    train(*task)
    return task[1]


def _cohort(task: tuple[dict[str, Any], int, Path]) -> None:
    fixed, seed, out = task
    make_cohort(fixed, seed, out / f"seed{seed}")


def main() -> None:
    """Run everything that is not there yet and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    fixed = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    tuned, reported = fixed["seeds"]["tuned"], fixed["seeds"]["reported"]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        pool.map(_cohort, [(fixed, seed, options.out) for seed in (*tuned, *reported)], chunksize=1)
        grid = itertools.product(tuned, fixed["models"], fixed["learning_rates"])
        runs = [Run(model, seed, rate) for seed, model, rate in grid]
        _run_all(pool, fixed, runs, options.out)
        rates = chosen_rates(fixed, options.out)
        runs = [Run(model, seed, rates[model]) for seed in reported for model in rates]
        _run_all(pool, fixed, runs, options.out)
    text = report(fixed, rates, options.out)
    (options.out / "claims.md").write_text(text, encoding="utf-8")
    print(text)


def _run_all(pool: Any, fixed: dict[str, Any], runs: list[Run], out: Path) -> None:
    for number, run in enumerate(pool.imap_unordered(_job, [(fixed, run, out) for run in runs]), start=1):
        print(
            f"{number} of {len(runs)}: {run.model}, seed {run.seed}, {run.learning_rate:g}", file=sys.stderr
        )


if __name__ == "__main__":
    main()
