from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.dicom.series.index import index_patient
from pipeline.settings.dicom import IndexSettings
from pipeline.tables.files import PatientFiles

with job(snakemake):
    patient = PatientFiles(
        snakemake.wildcards.patient,
        Path(snakemake.params.folder),
        absent=Path(snakemake.params.absent),
        planned=snakemake.params.images,
    )
    settings = IndexSettings.model_validate(snakemake.params.settings)
    index_patient(patient, settings, Path(snakemake.output[0]), on_bad_patient())
