"""What the report is made from: results, settings, code, versions of libraries."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pipeline
from pipeline.provenance import versions
from pipeline.settings.classical import ClinicalCox, ColumnModel, FeatureModel
from pipeline.settings.kinds import ranking
from pipeline.settings.root import Settings

LIBRARIES = (
    "numpy", "pandas", "matplotlib", "torch", "snakemake", "antspyx", "pyradiomics", "pydicom", "SimpleITK",
    "zarr", "scikit-survival", "lifelines",
)  # fmt: skip


@dataclass(frozen=True)
class AppliedBundle:
    """A bundle that predicted patients of another source, of which the report is.

    Attributes:
        identity: SHA-256 of its manifest.
        expected: Whether it was compared with an identity that was asked for.
        card: Its model card, Markdown.
        study: Name of the study that it was made from.
        software: Version of the software that made it.
        patients: Development patients of that study.
        events: Their number of events.
        folds: Folds of each member.
        doubts: What weakens what it says of these patients.
    """

    identity: str
    expected: bool
    card: str
    study: str
    software: str
    patients: int
    events: int
    folds: int
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportJob:
    """A finished study: which of the files in its folder belong to it.

    A folder may hold more: patients who withdrew, models and folds of earlier settings. The report
    asks this class, and never the disk, whose and which files it reads.

    Attributes:
        results: The study's folder, `results/{study}`.
        settings: All settings of the study. The report follows every stage and prints a hash of all
            settings, so it may read any section.
        code: Digest of the code of every stage that made the results, and of the report's own.
        patients: Ids of all usable rows of the cohort table, in its order.
        features: Table of the radiomics features inside the manual contour; None where no model
            reads it.
        stability: Agreement of the features under perturbed contours; None where it was not measured.
        split_given: Whether the cohort table's column `split` gave the sets or folds.
        bundle: The bundle, where the report prints its identity; None elsewhere.
        applied: The bundle whose external validation this is: nothing was fitted, and there are no
            folders of models; None of a study.
    """

    results: Path
    settings: Settings
    code: str
    patients: tuple[str, ...]
    features: Path | None = None
    stability: Path | None = None
    split_given: bool = False
    bundle: Path | None = None
    applied: AppliedBundle | None = None

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

    @property
    def baseline(self) -> str:
        """The simplest model, which the headline is measured by; empty where there is no other model.

        The one that is named, else the first of a single feature or column, else of clinical columns;
        never one that reads a simulated truth.
        """
        if self.settings.evaluation.baseline_model:
            return self.settings.evaluation.baseline_model
        truths = self.simulated_truths()
        others = {
            name: model
            for name, model in self.settings.models.items()
            if name in self.survival_models() and name not in truths and name != self.headline
        }
        for kinds in ((FeatureModel, ColumnModel), (ClinicalCox,)):
            for name, model in others.items():
                if isinstance(model, kinds):
                    return name
        return ""

    def survival_models(self) -> tuple[str, ...]:
        """Models that predict survival, and so rank patients by risk."""
        return ranking(self.settings.models)

    def simulated_truths(self) -> frozenset[str]:
        """Models that read a simulated truth, which no real study has."""
        columns = {name: m.column for name, m in self.settings.models.items() if isinstance(m, ColumnModel)}
        return frozenset(name for name, column in columns.items() if column.startswith("truth_"))

    def networks(self) -> list[str]:
        """Models that are trained as networks, and so leave a history, in the order of the settings."""
        return list(self.settings.networks())

    def folds(self, model: str) -> list[Path]:
        """A model's fold folders in order: those of `plan.folds`, all repeats counted through."""
        return [self.results / "models" / model / f"fold{fold}" for fold in range(self.settings.plan.runs)]


def settings_hash(settings: Settings) -> str:
    """First 16 hexadecimal digits of the SHA-256 of all settings as sorted JSON."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def provenance(job: ReportJob) -> list[tuple[str, str]]:
    """(what, value) pairs; two reports that agree in them were made from the same study and code."""
    installed = ", ".join(f"{name} {version}" for name, version in versions(*LIBRARIES).items())
    runs = job.settings.plan.runs
    return [
        ("SUVival", pipeline.__version__),
        ("Patients in the cohort table", str(len(job.patients))),
        ("Runs of each model", f"{runs} (fold0{f' to fold{runs - 1}' if runs > 1 else ''})"),
        ("Seed", str(job.settings.study.seed)),
        ("Settings", settings_hash(job.settings)),
        ("Code of all stages", job.code),
        ("Installed where the report was made", installed),
    ]
