from pathlib import Path

from pipeline.console import job
from pipeline.planning.plan import PlanJob, PlanPaths, make_plan, patients_from
from pipeline.settings.plan import PlanSettings

with job(snakemake):
    plan = PlanJob(
        patients=patients_from(snakemake.params.patients),
        problems=Path(snakemake.input.problems),
        settings=PlanSettings.model_validate(snakemake.params.settings),
        seed=snakemake.params.seed,
    )
    make_plan(plan, PlanPaths(Path(snakemake.output.splits), Path(snakemake.output.cohort)))
