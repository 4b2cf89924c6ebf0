BUNDLED = settings.bundled()
MEMBERS = list(study.ensembles.get(BUNDLED, ()))


rule bundle:
    input:
        folds=paths.folds(*MEMBERS),
        risks=paths.ensemble(BUNDLED),
        info=paths.ensemble_info(BUNDLED),
        cohort=paths.cohort,
        splits=paths.splits,
        metrics=paths.metrics,
        stages=paths.stages("development"),
        template=paths.template_of(),
        position=paths.position_of(),
        feature_set=paths.feature_set() if study.uses_radiomics else [],
    output:
        directory(paths.bundle),
    log:
        paths.log("bundle"),
    benchmark:
        paths.benchmark("bundle")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        **depends.on("bundle"),
        files=named_files(paths.feature_set() if study.uses_radiomics else []),
        model=BUNDLED,
        members=MEMBERS,
        folds=settings.plan.runs,
        settings=settings.model_dump(mode="json", exclude={"resources"}),
        results=lambda wildcards: paths.results,
    message:
        "Bundle {params.model}: what predicts new patients"
    script:
        "../workflow_scripts/bundle.py"
