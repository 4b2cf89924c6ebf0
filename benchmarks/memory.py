"""Peak memory of a fold against what it tells before it starts.

    python benchmarks/memory.py --patients 300 --side 144 --margin 30 --stored-as float16

Crops are made up: a few real ones, written as the stage `crop` writes them, and links to them for all
other patients, so that any number of patients takes the disk of four. With --prepared the cohort's
file is written from those four before the fold starts, instead of by the fold, which reads and
standardises every patient (seconds each at 204³). The fold then trains for a few iterations with a
validation at the end, in a process of its own, whose peak the kernel says (ru_maxrss, which is what
Snakemake's benchmark files call max_rss).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.planning.exclusions import gather_problems
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan
from pipeline.settings.networks.deepmts import DeepMts
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop
from pipeline.tables.cohort import Patient
from pipeline.training.context import FoldJob

REAL = 4
"""Crops that are written; those of other patients are links to them."""


def made_up_crop(number: int, stored: int, margin: int) -> Crop:
    """Smooth noise with a ball in it."""
    rng = np.random.default_rng(number)
    axis = np.arange(stored, dtype=np.float32) - stored / 2
    ball = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < (stored / 8 + number) ** 2
    waves = np.sin(axis / 7 + number)[:, None, None] * np.cos(axis / 5)[:, None] * np.sin(axis / 9)
    image = np.stack([waves + 4 * ball, 40 + 30 * waves + rng.normal(size=stored).astype(np.float32)])
    inside = np.ones(ball.shape, dtype=np.uint8)
    about = CropAttributes("p", ("pet", "ct"), ("g/mL", "HU"), (1.0, 1.0, 1.0), margin=margin)
    return Crop(image.astype(np.float32), ball.astype(np.uint8), inside, about)


def make_study(root: Path, options: argparse.Namespace) -> None:
    """Crops, plan and outcomes of made-up patients."""
    people = [
        Patient(
            patient_id=f"p{i:04d}", set="development", centre="A", image_path="-", roi="",
            time_days=100.0 + 7 * (i * 37 % 101), event=i % 2, extra={"clinical_x": str(i % 7)},
        )
        for i in range(options.patients)
    ]  # fmt: skip
    crops = root / "crops"
    for number, patient in enumerate(people):
        path = crops / f"{patient.patient_id}.zarr"
        if number < REAL:
            write_crop(path, made_up_crop(number, options.side + 2 * options.margin, options.margin))
        else:
            path.symlink_to(crops / f"{people[number % REAL].patient_id}.zarr")
    # Of the links the plan knows nothing: it would refuse patients with the same images.
    stages = {p.patient_id: [crops / f"{p.patient_id}.zarr"] for p in people[:REAL]}
    gather_problems(stages, {}, root / "problems.csv")
    settings = PlanSettings(folds=5, validation_fraction=options.validation)
    job = PlanJob(tuple(people), root / "problems.csv", settings, seed=1)
    make_plan(job, PlanPaths(root / "splits.json", root / "cohort.parquet"))


def job_of(root: Path, options: argparse.Namespace) -> FoldJob:
    """The fold."""
    training = TrainingSettings(
        iterations=options.iterations, batch=options.batch, gradient_accumulation=options.parts,
        validate_every=options.iterations, device="cpu", precision=options.precision, stored_as=options.stored_as,
    )  # fmt: skip
    network = DeepMts(width=options.width, clinical=("clinical_x",))
    return FoldJob(
        model="net", network=network, training=training, crops=root / "crops", outcomes=root / "cohort.parquet",
        splits=root / "splits.json", fold=0, horizons_days=(365.25,), seed=1, threads=options.threads,
        work=root / "checkpoints" / "net_0",
    )  # fmt: skip


def prepare(root: Path, options: argparse.Namespace) -> None:
    """The cohort's file, of four patients again and again."""
    from itertools import cycle, islice

    from pipeline.tables.outcomes import read_outcomes
    from pipeline.training.cohort_file import write_cohort
    from pipeline.training.crops import standardised_crops
    from pipeline.training.dataset import CohortSource

    job = job_of(root, options)
    ids = sorted(read_outcomes(job.outcomes).index)
    key = CohortSource(job.crops, job.training.standardise).key(ids, options.stored_as)
    four = list(standardised_crops(job.crops, ids[:REAL], job.training.standardise))
    path = root / "checkpoints" / f"cohort_{key[:16]}"
    write_cohort(path, options.stored_as, islice(cycle(four), len(ids)))


def train(root: Path, options: argparse.Namespace) -> None:
    """Train the fold and print what it told and what it took, in bytes."""
    import contextlib

    from pipeline.training.context import fingerprint_of, load_fold, make_context
    from pipeline.training.device import choose_device, reproducible
    from pipeline.training.memory_estimate import expected_memory
    from pipeline.training.trainer import run_training, start_run

    job = job_of(root, options)
    config = choose_device(job.training)
    with (
        reproducible(config, job.threads, False),
        contextlib.closing(load_fold(job, config)) as data,
    ):
        loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        told = expected_memory(job, data.cohort, config)
        context = make_context(job, data, config)
        monitored = {"validation": data.rows["validation"]}
        run_training(start_run(context, monitored, fingerprint_of(job, data, context), job.work))
    took = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"told": told.peak, "took": took, "loaded": loaded, "parts": told.in_words()}))


def main() -> None:
    """Make the study, start the fold, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, kind, default in (
        ("patients", int, 20), ("side", int, 48), ("margin", int, 8), ("batch", int, 4), ("parts", int, 1),
        ("iterations", int, 2), ("threads", int, 1), ("width", float, 1.0), ("validation", float, 0.1),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--stored-as", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--prepared", action="store_true")
    parser.add_argument("--study", type=Path, help="internal: the fold of a study that is there")
    options = parser.parse_args()
    if options.study is not None:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        train(options.study, options)
        return
    with tempfile.TemporaryDirectory(prefix="memory_") as folder:
        make_study(Path(folder), options)
        if options.prepared:
            prepare(Path(folder), options)
        command = [sys.executable, __file__, *sys.argv[1:], "--study", folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=dict(os.environ))
    found = json.loads(done.stdout)
    print(
        f"told {found['told'] / 1e9:.2f} GB, took {found['took'] / 1e9:.2f} GB: {found['took'] / found['told']:.3f}"
    )
    print(f"after loading {found['loaded'] / 1e9:.2f} GB; told: {found['parts']}")


if __name__ == "__main__":
    main()
