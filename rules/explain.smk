rule explain_model:
    input:
        folds=lambda wildcards: paths.folds(wildcards.model),
        risks=paths.ensemble("{model}"),
        crops=paths.crops("development"),
        cohort=paths.cohort,
    output:
        directory(paths.explanation()),
    log:
        paths.log("explain_model/{model}"),
    benchmark:
        paths.benchmark("explain_model/{model}")
    wildcard_constraints:
        model=any_of(study.explained),
    conda:
        "../envs/training.yaml"
    threads: settings.threads.train_fold
    resources:
        **stage_resources(
            lambda wildcards: fold_memory_mb(study, wildcards.model),
            240,
        ),
        gpu=lambda wildcards: gpus(wildcards.model),
    params:
        **depends.on("explain_model"),
        seed=settings.study.seed,
        threads=settings.threads.train_fold,
    message:
        "Explain {wildcards.model}: attribution maps and their randomisation tests"
    script:
        "../workflow_scripts/explain_model.py"


rule explain:
    input:
        [paths.explanation(model) for model in study.explained],
