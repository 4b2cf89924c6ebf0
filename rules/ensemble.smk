rule ensemble:
    input:
        folds=lambda wildcards: [
            f"{R}/models/{member}/fold{fold}"
            for member in ENSEMBLES[wildcards.ensemble]
            for fold in FOLDS
        ],
    output:
        table=f"{R}/ensemble/{{ensemble}}.parquet",
        info=f"{R}/ensemble/{{ensemble}}.json",
    log:
        f"{R}/logs/ensemble/{{ensemble}}.log",
    benchmark:
        f"{R}/benchmarks/ensemble/{{ensemble}}.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        members=lambda wildcards: list(ENSEMBLES[wildcards.ensemble]),
        code=code_digest("pipeline.ensemble.ensemble"),
    message:
        "Ensemble {wildcards.ensemble}: frozen Z-scores, averaged"
    script:
        "../workflow_scripts/ensemble.py"
