from pathlib import Path

from pipeline.console import job
from pipeline.planning.cross_splits import write_cross_splits

with job(snakemake):
    write_cross_splits(
        Path(snakemake.input.splits),
        Path(snakemake.input.cohort),
        snakemake.params.parts,
        snakemake.params.seed,
        Path(snakemake.output[0]),
    )
