STAGES = [
    *(["index"] if SOURCE == "dicom" else []),
    *(["convert", "suv", "contours", "registration"] if FROM_SCANNER else []),
]


def stages_of(patient):
    """What a patient's stages leave, in their order."""
    features = of_patients("radiomics", [patient], ".parquet") if RADIOMICS else []
    return (
        [f"{R}/{stage}/{patient}" for stage in STAGES] + crops_of([patient]) + features
    )


rule plan:
    input:
        [path for patient in cohort.ids() for path in stages_of(patient)],
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
        stages={patient: stages_of(patient) for patient in cohort.ids()},
        problems=dict(cohort.problems),
        settings=section("plan"),
        kinds={name: settings.models[name].kind for name in NETWORKS},
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
