from pathlib import Path

from pipeline.console import job
from pipeline.radiomics.extract import radiomics_patient
from pipeline.settings.radiomics import RadiomicsSettings

with job(snakemake.log[0]):
    settings = RadiomicsSettings.model_validate(
        {**snakemake.params.settings, "feature_set": snakemake.input.feature_set}
    )
    radiomics_patient(
        Path(snakemake.input.crop),
        Path(snakemake.output[0]),
        settings,
        snakemake.params.policy,
        snakemake.threads,
    )
