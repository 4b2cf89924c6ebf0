"""What a classical model is fitted from in every fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.metrics.stability import PerturbedFeatures
from pipeline.settings.classical import ClassicalModel
from pipeline.survival.deep_feature_blocks import DeepSource, with_deep_features
from pipeline.survival.estimator import Learner
from pipeline.survival.patients import Patients, with_features
from pipeline.tables.predicted_features import read_predicted_features
from pipeline.tables.splits import Splits


@dataclass(frozen=True)
class ModelJob:
    """A classical model to be fitted in every fold.

    Attributes:
        name: The model's name in the study.
        model: Its settings.
        features: `features.parquet`; None for models without features.
        outcomes: `cohort.parquet`.
        splits: `splits.json`.
        horizons_days: Times of the survival probabilities.
        seed: The study's seed.
        threads: CPU threads.
        predicted: Features on predicted contours, a table per fold, in place of `features`.
        stability: `stability.parquet`, for models with `min_icc`.
        learner: Trains networks on columns; only DeepSurv needs it.
        deep: Cross-fitted deep features, for models that name a network.
        permutations: Largest number of permutations of the test of cross-validated risk groups.
        risk_groups: Number of risk groups that this test compares.
        optimism_bootstraps: Number of resamples of Harrell's bootstrap.
        importance_permutations: Number of permutations of each column.
    """

    name: str
    model: ClassicalModel
    features: Path | None
    outcomes: Path
    splits: Path
    horizons_days: tuple[float, ...]
    seed: int
    threads: int = 1
    predicted: tuple[Path, ...] = ()
    stability: Path | None = None
    learner: Learner | None = None
    deep: DeepSource | None = None
    permutations: int = 0
    risk_groups: int = 2
    optimism_bootstraps: int = 0
    importance_permutations: int = 0

    @property
    def needs_features(self) -> bool:
        """Whether the model reads a feature table at all."""
        return self.model.needs.radiomics


@dataclass(frozen=True)
class StudyData:
    """What all folds of a model are fitted from.

    Attributes:
        patients: All usable patients.
        splits: The folds.
        perturbed: Features under perturbed contours, where the model needs them.
    """

    patients: Patients
    splits: Splits
    perturbed: PerturbedFeatures | None


def patients_of_fold(job: ModelJob, study: StudyData, fold: int) -> Patients:
    """Patients with the features that differ between folds: of predicted contours, deep features."""
    patients = study.patients
    if job.needs_features and job.predicted:
        frame = read_predicted_features(job.predicted, study.splits, fold)
        patients = with_features(patients.table, frame, str(job.predicted[fold]))
    if job.deep is not None:
        patients = with_deep_features(patients, job.deep, fold, study.splits)
    return patients
