BUNDLED = settings.bundled()
MEMBERS = list(ENSEMBLES.get(BUNDLED, ()))


rule bundle:
    input:
        folds=[
            f"{R}/models/{member}/fold{fold}" for member in MEMBERS for fold in FOLDS
        ],
        risks=f"{R}/ensemble/{BUNDLED}.parquet",
        info=f"{R}/ensemble/{BUNDLED}.json",
        cohort=f"{R}/cohort.parquet",
        stages=[
            path
            for patient in cohort.ids("development")
            for path in stages_of(patient)
        ],
        template=(
            f"{R}/template"
            if FROM_SCANNER and settings.registration.method == "template"
            else []
        ),
        position=(
            f"{R}/crop_position.json"
            if FROM_SCANNER and settings.crop.position == "fixed"
            else []
        ),
        feature_set=FEATURE_SET if RADIOMICS else [],
    output:
        directory(f"{R}/bundle"),
    log:
        f"{R}/logs/bundle.log",
    benchmark:
        f"{R}/benchmarks/bundle.tsv"
    conda:
        "../envs/training.yaml"
    threads: 1
    resources:
        **stage_resources(4000, 30),
    params:
        model=BUNDLED,
        members=MEMBERS,
        folds=settings.plan.folds,
        settings=settings.model_dump(mode="json"),
        results=lambda wildcards, input: os.path.dirname(input.cohort),
        code=code_digest("pipeline.deploy.bundle"),
    message:
        "Bundle {params.model}: what predicts new patients"
    script:
        "../workflow_scripts/bundle.py"
