from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.radiomics.sources import sources_of
from pipeline.radiomics.stability_patient import stability_patient
from pipeline.settings.radiomics import RadiomicsSettings

with job(snakemake):
    settings = {**snakemake.params.settings, "feature_set": snakemake.input.feature_set}
    stability_patient(
        sources_of(
            snakemake.wildcards.patient,
            [Path(path) for path in snakemake.input.stages],
            [Path(path) for path in snakemake.input.crops],
        ),
        Path(snakemake.output[0]),
        RadiomicsSettings.model_validate(settings),
        on_bad_patient(),
    )
