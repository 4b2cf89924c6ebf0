from pathlib import Path

from pydantic import TypeAdapter

from pipeline.console import job
from pipeline.settings.classical import ClassicalModel
from pipeline.survival.fit import ModelJob, fit_model

with job(snakemake.log[0]):
    fit = ModelJob(
        name=snakemake.wildcards.model,
        model=TypeAdapter(ClassicalModel).validate_python(snakemake.params.model),
        features=Path(snakemake.input.features) if snakemake.input.features else None,
        outcomes=Path(snakemake.input.cohort),
        splits=Path(snakemake.input.splits),
        horizons_days=tuple(snakemake.params.horizons_days),
        seed=snakemake.params.seed,
        threads=snakemake.threads,
    )
    fit_model(fit, Path(snakemake.output[0]).parent)
