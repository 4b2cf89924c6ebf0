from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.crops.ingest import ingest_patient
from pipeline.tables.files import PatientFiles

with job(snakemake.log[0], snakemake.params.items()):
    patient = PatientFiles(
        snakemake.wildcards.patient,
        Path(snakemake.params.folder),
        snakemake.params.roi,
        Path(snakemake.params.absent),
    )
    spacing_mm, classes = tuple(snakemake.params.spacing_mm), snakemake.params.classes
    ingest_patient(patient, Path(snakemake.output[0]), on_bad_patient(), spacing_mm, classes)
