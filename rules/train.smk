rule train_fold:
    input:
        crops=paths.crops(),
        cohort=paths.cohort,
        splits=paths.splits,
        initial=lambda wildcards: paths.initial_weights(wildcards.model, wildcards.fold),
    output:
        directory(paths.fold()),
    log:
        paths.log("train_fold/{model}_{fold}"),
    benchmark:
        paths.benchmark("train_fold/{model}_{fold}")
    wildcard_constraints:
        model=any_of(study.networks),
    conda:
        "../envs/training.yaml"
    threads: settings.threads.train_fold
    resources:
        **stage_resources(
            lambda wildcards: fold_memory_mb(study, wildcards.model),
            lambda wildcards: fold_minutes(study, wildcards.model),
        ),
        gpu=lambda wildcards: gpus(wildcards.model),
    params:
        **depends.on("train_fold"),
        files=lambda wildcards: named_files(
            paths.initial_weights(wildcards.model, wildcards.fold)
        ),
        model=lambda wildcards: settings.models[wildcards.model].model_dump(mode="json"),
        training=lambda wildcards: settings.training_of(wildcards.model).model_dump(
            mode="json"
        ),
        horizons_days=settings.evaluation.predicted_days,
        importance_permutations=settings.evaluation.importance_permutations,
        seed=settings.study.seed,
        threads=settings.threads.train_fold,
        work=lambda wildcards: paths.checkpoints(wildcards.model, wildcards.fold),
    message:
        "Train {wildcards.model}, fold {wildcards.fold}"
    script:
        "../workflow_scripts/train_fold.py"


rule train:
    input:
        paths.folds(*study.networks),
