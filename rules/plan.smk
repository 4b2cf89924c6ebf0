rule plan:
    input:
        crops=crops_of(cohort.ids()),
        stages=[
            folder
            for stage in ("index", "convert", "suv", "contours", "registration")
            if FROM_SCANNER and not (stage == "index" and SOURCE == "nifti")
            for folder in of_patients(stage, cohort.ids())
        ],
        radiomics=(
            of_patients("radiomics", cohort.ids(), ".parquet") if RADIOMICS else []
        ),
    output:
        splits=f"{R}/splits.json",
        plan=f"{R}/plan.json",
        problems=f"{R}/problems.csv",
        cohort=f"{R}/cohort.parquet",
    log:
        f"{R}/logs/plan.log",
    benchmark:
        f"{R}/benchmarks/plan.tsv"
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 10),
    params:
        patients=[vars(patient) for patient in cohort.patients],
        problems=dict(cohort.problems),
        settings=section("plan"),
        models={
            name: model.model_dump(mode="json")
            for name, model in settings.models.items()
        },
        training={
            name: settings.training_of(name).model_dump(mode="json")
            for name in NETWORKS
        },
        seed=settings.study.seed,
        code=code_digest("pipeline.training.plan"),
    message:
        "Plan: folds by patient, stratified by event"
    script:
        "../workflow_scripts/plan.py"
