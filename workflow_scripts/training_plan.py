from pathlib import Path

from pipeline.console import job
from pipeline.planning.training_plan import ModelPlan, TrainingPlanJob, write_training_plan
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings

with job(snakemake):
    training_plan = TrainingPlanJob(
        splits=Path(snakemake.input.splits),
        cohort=Path(snakemake.input.cohort),
        problems=Path(snakemake.input.problems),
        settings=PlanSettings.model_validate(snakemake.params.settings),
        models={
            name: ModelPlan(snakemake.params.kinds[name], TrainingSettings.model_validate(training))
            for name, training in snakemake.params.training.items()
        },
    )
    write_training_plan(training_plan, Path(snakemake.output[0]))
