from pathlib import Path

from pipeline.console import job
from pipeline.crops.ingest import write_arrays
from pipeline.phantoms.disks import write_disks
from pipeline.settings.phantom import DiskSettings

with job(snakemake):
    write_disks(
        snakemake.params.patients,
        DiskSettings.model_validate(snakemake.params.settings),
        [Path(path) for path in snakemake.output],
        write_arrays=write_arrays,
    )
