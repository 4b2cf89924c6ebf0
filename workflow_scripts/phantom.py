from pathlib import Path

from pipeline.console import job
from pipeline.phantoms.phantom import write_patient
from pipeline.settings.phantom import PhantomSettings

with job(snakemake):
    settings = PhantomSettings.model_validate(snakemake.params.settings)
    write_patient(snakemake.wildcards.patient, settings, Path(snakemake.output[0]))
