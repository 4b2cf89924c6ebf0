# Networks trained without a part of a fold's training patients, for classical models on deep features.


rule cross_splits:
    input:
        cohort=paths.cohort,
        splits=paths.splits,
    output:
        paths.cross_splits,
    log:
        paths.log("cross_splits"),
    benchmark:
        paths.benchmark("cross_splits")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        **depends.on("cross_splits"),
        parts=settings.plan.cross_parts,
        seed=settings.study.seed,
    message:
        "Cross splits: each fold's training patients in parts"
    script:
        "../workflow_scripts/cross_splits.py"


use rule train_fold as train_cross with:
    input:
        crops=paths.crops(),
        cohort=paths.cohort,
        splits=paths.cross_splits,
        initial=lambda wildcards: paths.cross_weights(wildcards.model, wildcards.fold),
    output:
        directory(paths.cross()),
    log:
        paths.log("train_cross/{model}_{fold}"),
    benchmark:
        paths.benchmark("train_cross/{model}_{fold}")
    params:
        training=lambda wildcards: {
            **settings.training_of(wildcards.model).model_dump(mode="json"),
            "outputs": ("deep_features",),
        },
        importance_permutations=0,
        work=lambda wildcards: paths.checkpoints(
            wildcards.model, f"cross{wildcards.fold}"
        ),
    message:
        "Train {wildcards.model} without a part of the training patients, {wildcards.fold}"
