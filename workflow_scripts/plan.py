from pathlib import Path

from pipeline.console import job
from pipeline.settings.plan import PlanSettings
from pipeline.settings.training import TrainingSettings
from pipeline.training.plan import ModelPlan, PlanJob, PlanPaths, make_plan, patients_from

with job(snakemake.log[0]):
    plan = PlanJob(
        patients=patients_from(snakemake.params.patients),
        stages={
            patient: [Path(path) for path in paths] for patient, paths in snakemake.params.stages.items()
        },
        settings=PlanSettings.model_validate(snakemake.params.settings),
        seed=snakemake.params.seed,
        problems=snakemake.params.problems,
        models={
            name: ModelPlan(snakemake.params.kinds[name], TrainingSettings.model_validate(training))
            for name, training in snakemake.params.training.items()
        },
    )
    make_plan(plan, PlanPaths(**{name: Path(path) for name, path in snakemake.output.items()}))
