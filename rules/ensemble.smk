rule ensemble:
    input:
        folds=lambda wildcards: paths.members_of(wildcards.ensemble),
    output:
        table=paths.ensemble(),
        info=paths.ensemble_info(),
    log:
        paths.log("ensemble/{ensemble}"),
    benchmark:
        paths.benchmark("ensemble/{ensemble}")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        **depends.on("ensemble"),
        z_scores=settings.evaluation.z_scores,
        members=lambda wildcards: list(study.ensembles[wildcards.ensemble]),
    message:
        "Ensemble {wildcards.ensemble}: frozen Z-scores, averaged"
    script:
        "../workflow_scripts/ensemble.py"
