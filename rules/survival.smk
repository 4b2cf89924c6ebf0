rule survival:
    input:
        features=features_of,
        stability=stability_of,
        cohort=f"{R}/cohort.parquet",
        splits=f"{R}/splits.json",
        deep=cross_networks,
        cross_splits=lambda wildcards: (
            f"{R}/cross_splits.json" if cross_networks(wildcards) else []
        ),
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
        horizons_days=settings.evaluation.predicted_days,
        seed=settings.study.seed,
        # Networks on columns are code of one kind of model only.
        code=lambda wildcards: code_digest(
            "pipeline.survival.survival",
            *(
                ["pipeline.training.tabular"]
                if settings.models[wildcards.model].kind == "deepsurv"
                else []
            ),
        ),
    message:
        "Survival {wildcards.model}: fitted within each fold's training patients"
    script:
        "../workflow_scripts/survival.py"
