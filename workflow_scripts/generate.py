from pathlib import Path

from pipeline.console import job
from pipeline.crops.ingest import write_arrays
from pipeline.phantoms.disks import disk_of_row
from pipeline.settings.phantom import DiskSettings

with job(snakemake.log[0]):
    settings = DiskSettings.model_validate(snakemake.params.settings)
    for (patient_id, time), out in zip(snakemake.params.patients, snakemake.output, strict=True):
        disk = disk_of_row(patient_id, time, settings)
        write_arrays(patient_id, disk.image, disk.mask, Path(out))
