from pathlib import Path

from pipeline.console import job
from pipeline.report.job import job_from_settings
from pipeline.report.report import build_report

with job(snakemake.log[0], snakemake.params.items()):
    build_report(
        job_from_settings(
            Path(snakemake.params.results), snakemake.params.settings, snakemake.params.code_of_results
        ),
        Path(snakemake.output[0]),
    )
