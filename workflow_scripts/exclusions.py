from pathlib import Path

from pipeline.console import job, on_bad_patient
from pipeline.planning.exclusions import gather_problems

with job(snakemake):
    stages = {patient: [Path(path) for path in paths] for patient, paths in snakemake.params.stages.items()}
    gather_problems(stages, snakemake.params.table, Path(snakemake.output[0]), on_bad_patient())
