from pathlib import Path

from pipeline.console import job
from pipeline.settings.models import read_model
from pipeline.survival.deep_feature_blocks import DeepSource
from pipeline.survival.model_job import ModelJob
from pipeline.survival.survival import fit_model
from pipeline.training.tabular import learn_columns

with job(snakemake):
    model = read_model(snakemake.params.model)
    predicted = model.needs.contour == "predicted"
    deep = tuple(Path(folder, "deep_features.parquet") for folder in snakemake.input.deep)
    fit = ModelJob(
        name=snakemake.wildcards.model,
        model=model,
        features=Path(snakemake.input.features) if snakemake.input.features and not predicted else None,
        predicted=tuple(map(Path, snakemake.input.features)) if predicted else (),
        stability=Path(snakemake.input.stability) if snakemake.input.stability else None,
        outcomes=Path(snakemake.input.cohort),
        splits=Path(snakemake.input.splits),
        horizons_days=tuple(snakemake.params.horizons_days),
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        learner=learn_columns,
        deep=DeepSource(deep, Path(snakemake.input.cross_splits)) if deep else None,
        **snakemake.params.test,
    )
    fit_model(fit, Path(snakemake.output.test).parent)
