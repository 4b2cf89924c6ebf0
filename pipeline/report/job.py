"""What the report is made from: results, settings, code, versions of libraries."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipeline
from pipeline.provenance import versions
from pipeline.settings.classical import ColumnModel
from pipeline.settings.kinds import ranking
from pipeline.settings.root import Settings

LIBRARIES = (
    "numpy", "pandas", "matplotlib", "torch", "snakemake", "antspyx", "pyradiomics", "pydicom", "SimpleITK",
    "zarr", "scikit-survival", "lifelines",
)  # fmt: skip


@dataclass(frozen=True)
class ReportJob:
    """A finished study.

    Attributes:
        results: The study's folder, `results/{study}`.
        settings: All settings of the study. The report follows every stage and prints a hash of all
            settings, so it may read any section.
        code: Digest of the code of every stage that made the results, and of the report's own.
    """

    results: Path
    settings: Settings
    code: str

    @property
    def headline(self) -> str:
        """The model that curves are drawn of: the one the others are compared with.

        As `evaluate` chooses it: the named one, else the first ensemble of several models, else
        the first model that predicts survival; empty where none does.
        """
        if self.settings.evaluation.compare_with:
            return self.settings.evaluation.compare_with
        several = [name for name, members in self.settings.ensembles.items() if len(members) > 1]
        return next(iter([*several, *self.survival_models()]), "")

    def survival_models(self) -> tuple[str, ...]:
        """Models that predict survival, and so rank patients by risk."""
        return ranking(self.settings.models)

    def simulated_truths(self) -> frozenset[str]:
        """Models that read a simulated truth, which no real study has."""
        columns = {name: m.column for name, m in self.settings.models.items() if isinstance(m, ColumnModel)}
        return frozenset(name for name, column in columns.items() if column.startswith("truth_"))

    def networks(self) -> list[str]:
        """Models that left a training history."""
        return [m for m in self.settings.models if list(self.results.glob(f"models/{m}/fold*/history.csv"))]

    def folds(self, model: str) -> list[Path]:
        """A model's fold folders in order."""
        return sorted(
            self.results.glob(f"models/{model}/fold*"), key=lambda p: int(p.name.removeprefix("fold"))
        )


def job_from_settings(results: Path, settings: dict[str, Any], code: str) -> ReportJob:
    """A job from a study's settings as plain values, which is how a rule hands them over."""
    return ReportJob(results, Settings.model_validate(settings), code)


def settings_hash(settings: Settings) -> str:
    """First 16 hexadecimal digits of the SHA-256 of all settings as sorted JSON."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def provenance(job: ReportJob) -> list[tuple[str, str]]:
    """(what, value) pairs; two reports that agree in them were made from the same study and code."""
    installed = ", ".join(f"{name} {version}" for name, version in versions(*LIBRARIES).items())
    return [
        ("SUVival", pipeline.__version__),
        ("Seed", str(job.settings.study.seed)),
        ("Settings", settings_hash(job.settings)),
        ("Code of all stages", job.code),
        ("Installed where the report was made", installed),
    ]
