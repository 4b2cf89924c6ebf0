from pathlib import Path

from pipeline.console import job
from pipeline.ensemble.ensemble import ensemble

with job(snakemake):
    members = {
        name: [Path(folder) for folder in snakemake.input.folds if Path(folder).parent.name == name]
        for name in snakemake.params.members
    }
    ensemble(
        members,
        Path(snakemake.output.table),
        Path(snakemake.output.info),
        snakemake.params.z_scores,
    )
