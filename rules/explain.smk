EXPLAINED = sorted(settings.explain.models)


rule explain_model:
    input:
        folds=lambda wildcards: [
            f"{R}/models/{wildcards.model}/fold{fold}" for fold in FOLDS
        ],
        risks=f"{R}/ensemble/{{model}}.parquet",
        crops=crops_of(cohort.ids("development")),
        cohort=f"{R}/cohort.parquet",
    output:
        directory(f"{R}/explain/{{model}}"),
    log:
        f"{R}/logs/explain/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/explain/{{model}}.tsv"
    wildcard_constraints:
        model="|".join(EXPLAINED) or "none",
    conda:
        "../envs/training.yaml"
    threads: settings.threads.train_fold
    resources:
        **stage_resources(8000, 240),
        gpu=GPUS_PER_FOLD,
    params:
        settings=section("explain"),
        seed=settings.study.seed,
        code=lambda wildcards: code_digest(
            "pipeline.explain.explain_model",
            f"pipeline.nets.{settings.models[wildcards.model].kind}",
        ),
    message:
        "Explain {wildcards.model}: where it looks, and whether the maps mean anything"
    script:
        "../workflow_scripts/explain_model.py"


rule explain:
    input:
        [f"{R}/explain/{model}" for model in EXPLAINED],
