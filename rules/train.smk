rule train_fold:
    input:
        crops=crops_of(cohort.ids()),
        cohort=f"{R}/cohort.parquet",
        splits=f"{R}/splits.json",
        initial=initial_weights,
    output:
        directory(f"{R}/models/{{model}}/fold{{fold}}"),
    log:
        f"{R}/logs/train_fold/{{model}}_{{fold}}.log",
    benchmark:
        f"{R}/benchmarks/train_fold/{{model}}_{{fold}}.tsv"
    wildcard_constraints:
        model="|".join(NETWORKS) or "none",
    conda:
        "../envs/training.yaml"
    threads: settings.threads.train_fold
    resources:
        **stage_resources(8000, 720),
        gpu=GPUS_PER_FOLD,
    params:
        model=lambda wildcards: settings.models[wildcards.model].model_dump(mode="json"),
        training=lambda wildcards: settings.training_of(wildcards.model).model_dump(
            mode="json"
        ),
        horizons_days=settings.evaluation.predicted_days,
        seed=settings.study.seed,
        work=lambda wildcards: f"{WORK}/{wildcards.model}_{wildcards.fold}",
        # The registry imports the network's module by its kind.
        code=lambda wildcards: code_digest(
            "pipeline.training.train_fold",
            f"pipeline.nets.{settings.models[wildcards.model].kind}",
        ),
    message:
        "Train {wildcards.model}, fold {wildcards.fold}"
    script:
        "../workflow_scripts/train_fold.py"


rule train:
    input:
        [f"{R}/models/{model}/fold{fold}" for model in NETWORKS for fold in FOLDS],
