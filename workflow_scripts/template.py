from pathlib import Path

from pipeline.console import job
from pipeline.registration.template import choose_template
from pipeline.settings.geometry import RegistrationSettings

with job(snakemake):
    choose_template(
        [Path(folder) for folder in snakemake.input.candidates],
        Path(snakemake.output[0]),
        RegistrationSettings.model_validate(snakemake.params.settings),
        snakemake.params.seed,
        frozen=Path(snakemake.params.frozen),
    )
