from pathlib import Path

from pipeline.console import job
from pipeline.report.job import ReportJob
from pipeline.report.report import build_report
from pipeline.settings.root import Settings

with job(snakemake):
    study = ReportJob(
        results=Path(snakemake.params.results),
        settings=Settings.model_validate(snakemake.params.settings),
        code=snakemake.params.code_of_results,
        patients=tuple(snakemake.params.patients),
        features=Path(snakemake.input.features) if snakemake.input.features else None,
        stability=Path(snakemake.input.stability) if snakemake.input.stability else None,
        split_given=snakemake.params.split_given,
        bundle=Path(snakemake.input.bundle) if snakemake.input.bundle else None,
    )
    build_report(study, Path(snakemake.output[0]))
