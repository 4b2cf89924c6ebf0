from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.registration.register import RegistrationSources, register_patient
from pipeline.settings.geometry import RegistrationSettings

with job(snakemake):
    sources = RegistrationSources(
        patient_id=snakemake.wildcards.patient,
        convert=Path(snakemake.input.convert),
        template=Path(snakemake.input.template) if snakemake.input.template else None,
    )
    settings = RegistrationSettings.model_validate(snakemake.params.settings)
    register_patient(sources, Path(snakemake.output[0]), settings, on_bad_patient())
