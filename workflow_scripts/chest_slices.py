from pathlib import Path

from pipeline.console import job
from pipeline.crops.ingest import write_arrays
from pipeline.phantoms.chest_slices import write_chest_slices
from pipeline.settings.chest_phantom import ChestSliceSettings

with job(snakemake):
    write_chest_slices(
        snakemake.params.patients,
        ChestSliceSettings.model_validate(snakemake.params.settings),
        [Path(path) for path in snakemake.output],
        tuple(snakemake.params.classes),
        write_arrays=write_arrays,
    )
