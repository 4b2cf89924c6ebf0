"""What the report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.settings.cohort import CohortSettings
from pipeline.settings.evaluation import EvaluationSettings, ReportSettings
from pipeline.settings.kinds import ranking, read_models
from pipeline.settings.study import StudySettings


@dataclass(frozen=True)
class ReportJob:
    """A finished study's results and what they were made with.

    Attributes:
        results: The study's folder, `results/{study}`.
        study: Name, title and the note printed on every figure.
        cohort: Source and endpoint.
        evaluation: Horizons, intervals, the model the others are compared with.
        report: How much is shown.
        models: Model name → its settings as plain values.
        ensembles: Name → members, those asked for in the study.
        settings: All settings as plain values, for the methods section.
        code: Digest of the code of every stage that made the results, and of the report's own.
    """

    results: Path
    study: StudySettings
    cohort: CohortSettings
    evaluation: EvaluationSettings
    report: ReportSettings
    models: dict[str, dict[str, Any]]
    ensembles: dict[str, list[str]]
    settings: dict[str, Any]
    code: str

    @property
    def headline(self) -> str:
        """The model that curves are drawn of: the one the others are compared with.

        As `evaluate` chooses it: the named one, else the first ensemble of several models,
        else the first model that ranks; empty where none does.
        """
        if self.evaluation.compare_with:
            return self.evaluation.compare_with
        several = [name for name, members in self.ensembles.items() if len(members) > 1]
        return next(iter([*several, *self.ranked()]), "")

    def ranked(self) -> tuple[str, ...]:
        """Models that predict survival, and so rank patients by risk."""
        return ranking(read_models(self.models))

    def truths(self) -> frozenset[str]:
        """Models that read a simulated truth, which no real study has."""
        return frozenset(
            name for name, model in self.models.items() if str(model.get("column", "")).startswith("truth_")
        )

    def networks(self) -> list[str]:
        """Models that left a training history."""
        return [m for m in self.models if list(self.results.glob(f"models/{m}/fold*/history.csv"))]

    def folds(self, model: str) -> list[Path]:
        """A model's fold folders in order."""
        return sorted(
            self.results.glob(f"models/{model}/fold*"), key=lambda p: int(p.name.removeprefix("fold"))
        )


def job_from_settings(results: Path, settings: dict[str, Any], code: str) -> ReportJob:
    """Rebuild a job from a study's settings as plain values."""
    return ReportJob(
        results=results,
        study=StudySettings.model_validate(settings["study"]),
        cohort=CohortSettings.model_validate(settings["cohort"]),
        evaluation=EvaluationSettings.model_validate(settings["evaluation"]),
        report=ReportSettings.model_validate(settings["report"]),
        models=dict(settings["models"]),
        ensembles={name: list(members) for name, members in settings["ensembles"].items()},
        settings=settings,
        code=code,
    )
