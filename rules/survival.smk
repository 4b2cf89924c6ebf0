rule survival:
    input:
        features=f"{R}/radiomics/features.parquet" if RADIOMICS else [],
        cohort=f"{R}/cohort.parquet",
        splits=f"{R}/splits.json",
    output:
        [directory(f"{R}/models/{{model}}/fold{fold}") for fold in FOLDS],
    log:
        f"{R}/logs/survival/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/survival/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(CLASSICAL) or "none",
    conda:
        "../envs/survival.yaml"
    threads: settings.threads.survival
    resources:
        **stage_resources(4000, 120),
    params:
        model=lambda wildcards: settings.models[wildcards.model].model_dump(mode="json"),
        horizons_days=settings.evaluation.horizons_days,
        seed=settings.study.seed,
        code=code_digest("pipeline.survival.fit"),
    message:
        "Survival {wildcards.model}: fitted within each fold's training patients"
    script:
        "../workflow_scripts/survival.py"
