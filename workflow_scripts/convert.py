from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.settings.dicom import ConvertSettings
from pipeline.tables.files import images_as_indexed

with job(snakemake), images_as_indexed(Path(snakemake.params.folder), snakemake.params.images):
    settings = ConvertSettings.model_validate(snakemake.params.settings)
    convert_patient(Path(snakemake.input.index), Path(snakemake.output[0]), settings, on_bad_patient())
