"""Runs a small study in a copy of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "rules", "workflow_scripts", "pipeline", "config", "envs", "docs")


def copy_house(target: Path) -> Path:
    """Copy what a run needs into an empty folder."""
    target.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            # Compiled files, too: a run need not compile again. What another run is writing has a name of its own.
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("*.pyc.*", "*.json.*"))
        else:
            shutil.copyfile(source, target / name)
    return target


class Study:
    """A study in a folder of its own."""

    def __init__(self, house: Path, config: dict) -> None:
        self.house, self.config = house, config
        self.results = house / "results" / config["study"]["name"]

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run snakemake in the house; its whole output."""
        (self.house / "study.yaml").write_text(yaml.safe_dump(self.config))
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "study.yaml"],
            cwd=self.house, env=environment, capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        if check and done.returncode:
            logs = "\n".join(
                f"--- {p}\n{p.read_text()[-2000:]}"
                for p in sorted(self.results.glob("logs/**/*.log"))
                if p.stat().st_size
            )
            raise AssertionError(f"snakemake failed:\n{output[-5000:]}\n{logs[-6000:]}")
        return output

    def planned(self) -> dict[str, int]:
        """Rule → jobs that a dry run lists."""
        lines = self.snakemake("-n", "--quiet", "rules").splitlines()
        jobs = {}
        for line in lines:
            words = line.split()
            if len(words) == 2 and words[1].isdigit() and words[0] not in ("total", "job"):
                jobs[words[0]] = int(words[1])
        return jobs


def tiny_config(**cohort: str) -> dict:
    """Ten phantom patients, two folds, a network too small to learn anything.

    Args:
        cohort: Keys of the section `cohort`; with an `image_root` nothing is generated.
    """
    return {
        "study": {"name": "tiny", "title": "Tiny <study>", "note": "Ten simulated patients."},
        "cohort": {"table": "cohort.csv", "image_root": "results/tiny/phantom", **cohort},
        **({} if "image_root" in cohort else {"phantom": {}}),
        "crop": {"shape": [32, 48, 48], "spacing_mm": [4.0, 4.0, 4.0]},
        "radiomics": {"feature_set": "demo"},
        "plan": {"folds": 2, "validation_fraction": 0.4},
        "models": {
            "deepmts": {"kind": "deepmts", "width": 0.125, "clinical": ["clinical_performance"]},
            "lasso": {"kind": "lasso_cox"},
            "volume": {"kind": "feature", "feature": "pet_index_volume_ml"},
        },
        "ensembles": {"both": ["deepmts", "lasso", "volume"]},
        # float32: in bf16 one patient rounds otherwise than a batch, and after four iterations a
        # standard deviation of risks is so small that this is a hundredth of it.
        "training": {
            "iterations": 4,
            "batch": 4,
            "validate_every": 2,
            "checkpoint_every": 2,
            "precision": "fp32",
        },
        "evaluation": {"bootstraps": 100},
        "report": {"examples": 2},
    }


def tiny_rows() -> list[str]:
    """Header and rows of the embedded table: 10 development and 4 external patients."""
    lines = (ROOT / "config" / "cohorts" / "phantom.csv").read_text().splitlines()
    development = [line for line in lines if ",development," in line][:10]
    external = [line for line in lines if ",external," in line][:4]
    return [lines[0], *development, *external]
