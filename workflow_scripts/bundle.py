from pathlib import Path

from pipeline.console import job
from pipeline.deploy.bundle import BundleJob, write_bundle
from pipeline.settings.root import Settings

with job(snakemake):
    bundle = BundleJob(
        results=Path(snakemake.params.results),
        model=snakemake.params.model,
        members=tuple(snakemake.params.members),
        folds=snakemake.params.folds,
        settings=Settings.model_validate(snakemake.params.settings),
        feature_set=Path(snakemake.input.feature_set) if snakemake.input.feature_set else None,
    )
    write_bundle(bundle, Path(snakemake.output[0]))
