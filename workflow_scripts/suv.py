from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.dicom.pet.suv import suv_patient
from pipeline.settings.dicom import SuvSettings

with job(snakemake):
    settings = SuvSettings.model_validate(snakemake.params.settings)
    suv_patient(
        Path(snakemake.input.convert),
        Path(snakemake.output[0]),
        settings,
        on_bad_patient(),
        needed=snakemake.params.needed,
    )
