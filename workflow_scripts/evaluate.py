from pathlib import Path

from pipeline.console import job
from pipeline.metrics.evaluate import evaluate
from pipeline.metrics.evaluated_models import Sources
from pipeline.settings.evaluation import EvaluationSettings

with job(snakemake):
    evaluate(
        {
            name: Path(path)
            for name, path in zip(snakemake.params.names, snakemake.input.ensembles, strict=True)
        },
        Sources(
            Path(snakemake.input.cohort),
            Path(snakemake.input.splits),
            snakemake.params.detectors,
            snakemake.params.permutations,
            snakemake.params.subsets,
            snakemake.params.validations,
            snakemake.params.permuted,
        ),
        EvaluationSettings.model_validate(snakemake.params.settings),
        snakemake.params.seed,
        Path(snakemake.output[0]),
    )
