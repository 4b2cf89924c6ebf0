# Networks that find boxes, and the folders of their folds.
DETECTORS = {
    name: [f"{R}/models/{name}/fold{fold}" for fold in FOLDS]
    for name in NETWORKS
    if "detection" in settings.models[name].gives()
}


rule evaluate:
    input:
        ensembles=[f"{R}/ensemble/{name}.parquet" for name in ENSEMBLES],
        info=[f"{R}/ensemble/{name}.json" for name in ENSEMBLES],
        boxes=[folder for folders in DETECTORS.values() for folder in folders],
        cohort=f"{R}/cohort.parquet",
        splits=f"{R}/splits.json",
    output:
        directory(f"{R}/metrics"),
    log:
        f"{R}/logs/evaluate.log",
    benchmark:
        f"{R}/benchmarks/evaluate.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 30),
    params:
        names=list(ENSEMBLES),
        detectors=DETECTORS,
        settings=section("evaluation"),
        seed=settings.study.seed,
        code=code_digest("pipeline.metrics.evaluate"),
    message:
        "Evaluate: concordance, calibration, Kaplan–Meier, with intervals"
    script:
        "../workflow_scripts/evaluate.py"
