from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.settings.dicom import ConvertSettings

with job(snakemake.log[0], snakemake.params.items()):
    settings = ConvertSettings.model_validate(snakemake.params.settings)
    convert_patient(Path(snakemake.input.index), Path(snakemake.output[0]), settings, on_bad_patient())
