from pathlib import Path

from pipeline.console import job
from pipeline.nets.registry import network_settings
from pipeline.settings.training import TrainingSettings
from pipeline.training.context import FoldJob
from pipeline.training.pretrained import weights_file
from pipeline.training.train_fold import train_fold

with job(snakemake):
    fold = FoldJob(
        model=snakemake.wildcards.model,
        network=network_settings(snakemake.params.model),
        training=TrainingSettings.model_validate(snakemake.params.training),
        crops=Path(snakemake.input.crops[0]).parent,
        outcomes=Path(snakemake.input.cohort),
        splits=Path(snakemake.input.splits),
        fold=int(snakemake.wildcards.fold),
        horizons_days=tuple(snakemake.params.horizons_days),
        seed=snakemake.params.seed,
        threads=snakemake.params.threads,
        work=Path(snakemake.params.work),
        initial=weights_file(snakemake.input.initial),
        importance_permutations=snakemake.params.importance_permutations,
    )
    train_fold(fold, Path(snakemake.output[0]))
