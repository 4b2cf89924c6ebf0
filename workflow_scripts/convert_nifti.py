from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.dicom.volume.convert_nifti import convert_nifti
from pipeline.settings.cohort import NiftiSettings
from pipeline.tables.files import PatientFiles

with job(snakemake):
    patient = PatientFiles(
        snakemake.wildcards.patient,
        Path(snakemake.params.folder),
        absent=Path(snakemake.params.absent),
        planned=snakemake.params.images,
    )
    settings = NiftiSettings.model_validate(snakemake.params.settings)
    convert_nifti(patient, Path(snakemake.output[0]), settings, on_bad_patient())
