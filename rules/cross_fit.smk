# Networks trained without a part of a fold's training patients, for classical models on deep features.


rule cross_splits:
    input:
        cohort=f"{R}/cohort.parquet",
        splits=f"{R}/splits.json",
    output:
        f"{R}/cross_splits.json",
    log:
        f"{R}/logs/cross_splits.log",
    benchmark:
        f"{R}/benchmarks/cross_splits.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        parts=settings.plan.cross_parts,
        seed=settings.study.seed,
        code=code_digest("pipeline.planning.cross_splits"),
    message:
        "Cross splits: each fold's training patients in parts"
    script:
        "../workflow_scripts/cross_splits.py"


use rule train_fold as train_cross with:
    input:
        crops=crops_of(cohort.ids()),
        cohort=f"{R}/cohort.parquet",
        splits=f"{R}/cross_splits.json",
        initial=cross_weights,
    output:
        directory(f"{R}/models/{{model}}/cross{{fold}}"),
    log:
        f"{R}/logs/train_cross/{{model}}_{{fold}}.log",
    benchmark:
        f"{R}/benchmarks/train_cross/{{model}}_{{fold}}.tsv"
    params:
        training=lambda wildcards: {
            **settings.training_of(wildcards.model).model_dump(mode="json"),
            "outputs": ("deep_features",),
        },
        work=lambda wildcards: f"{WORK}/{wildcards.model}_cross{wildcards.fold}",
    message:
        "Train {wildcards.model} without a part of the training patients, {wildcards.fold}"
