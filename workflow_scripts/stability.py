from pathlib import Path

from pipeline.console import job
from pipeline.metrics.stability import gather_stability

with job(snakemake):
    gather_stability(
        [Path(path) for path in snakemake.input.patients],
        snakemake.params.development,
        Path(snakemake.output.values),
        Path(snakemake.output.summary),
    )
