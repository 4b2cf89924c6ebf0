from pathlib import Path

from pipeline.console import job
from pipeline.explain.explain_model import ExplainJob, explain_model
from pipeline.settings.explain import ExplainSettings

with job(snakemake):
    explanation = ExplainJob(
        model=snakemake.wildcards.model,
        folds=tuple(Path(folder) for folder in snakemake.input.folds),
        risks=Path(snakemake.input.risks),
        crops=Path(snakemake.input.crops[0]).parent,
        outcomes=Path(snakemake.input.cohort),
        settings=ExplainSettings.model_validate(snakemake.params.settings),
        seed=snakemake.params.seed,
        threads=snakemake.params.threads,
    )
    explain_model(explanation, Path(snakemake.output[0]))
