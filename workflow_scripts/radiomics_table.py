from pathlib import Path

from pipeline.console import job
from pipeline.radiomics.radiomics_table import gather_features

with job(snakemake):
    gather_features([Path(path) for path in snakemake.input.patients], Path(snakemake.output[0]))
