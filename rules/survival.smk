rule survival:
    input:
        features=lambda wildcards: paths.features_of(wildcards.model),
        stability=lambda wildcards: paths.stability_of(wildcards.model),
        cohort=paths.cohort,
        splits=paths.splits,
        deep=lambda wildcards: paths.cross_networks(wildcards.model),
        cross_splits=lambda wildcards: paths.cross_splits_of(wildcards.model),
    output:
        [directory(folder) for folder in paths.folds("{model}")],
        test=paths.refits("permutations"),
        validation=paths.refits("validation"),
    log:
        paths.log("survival/{model}"),
    benchmark:
        paths.benchmark("survival/{model}")
    wildcard_constraints:
        model=any_of(study.classical),
    conda:
        "../envs/survival.yaml"
    threads: settings.threads.survival
    resources:
        **stage_resources(4000, 120),
    params:
        **depends.on("survival"),
        model=lambda wildcards: settings.models[wildcards.model].model_dump(mode="json"),
        horizons_days=settings.evaluation.predicted_days,
        test=settings.evaluation.model_dump(
            include={
                "permutations",
                "risk_groups",
                "optimism_bootstraps",
                "importance_permutations",
            }
        ),
        seed=settings.study.seed,
    message:
        "Survival {wildcards.model}: fitted within each fold's training patients"
    script:
        "../workflow_scripts/survival.py"
