rule evaluate:
    input:
        ensembles=[paths.ensemble(name) for name in study.ensembles],
        info=[paths.ensemble_info(name) for name in study.ensembles],
        permutations=[paths.refits("permutations", name) for name in study.classical],
        validations=[paths.refits("validation", name) for name in study.classical],
        boxes=paths.folds(*study.detectors),
        permuted=paths.folds(*study.permuted),
        cohort=paths.cohort,
        splits=paths.splits,
    output:
        directory(paths.metrics),
    log:
        paths.log("evaluate"),
    benchmark:
        paths.benchmark("evaluate")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 30),
    params:
        **depends.on("evaluate"),
        names=list(study.ensembles),
        detectors={name: paths.folds(name) for name in study.detectors},
        permuted={name: paths.folds(name) for name in study.permuted},
        subsets=study.subsets,
        permutations={
            name: paths.refits("permutations", name) for name in study.classical
        },
        validations={name: paths.refits("validation", name) for name in study.classical},
        seed=settings.study.seed,
    message:
        "Evaluate: concordance, calibration, Kaplan–Meier, with confidence intervals"
    script:
        "../workflow_scripts/evaluate.py"
