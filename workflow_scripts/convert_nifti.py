from pathlib import Path

from pipeline.console import job
from pipeline.dicom.volume.convert_nifti import convert_nifti
from pipeline.settings.cohort import CohortSettings
from pipeline.tables.files import PatientFiles

with job(snakemake.log[0]):
    patient = PatientFiles(snakemake.wildcards.patient, Path(snakemake.params.folder))
    settings = CohortSettings.model_validate({"table": "", **snakemake.params.settings})
    convert_nifti(patient, Path(snakemake.output[0]), settings, snakemake.params.policy)
