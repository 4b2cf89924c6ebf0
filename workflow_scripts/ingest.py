from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.crops.ingest import SliceStore, ingest_patient
from pipeline.settings.ingest import IngestSettings
from pipeline.tables.files import PatientFiles

with job(snakemake):
    patient = PatientFiles(
        snakemake.wildcards.patient,
        Path(snakemake.params.folder),
        snakemake.params.roi,
        Path(snakemake.params.absent),
        snakemake.params.images,
    )
    settings = IngestSettings.model_validate(snakemake.params.settings)
    grid = (tuple(snakemake.params.shape), tuple(snakemake.params.spacing_mm))
    store = SliceStore(settings, *grid, snakemake.params.classes)
    ingest_patient(patient, Path(snakemake.output[0]), on_bad_patient(), store)
