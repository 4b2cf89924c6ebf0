rule exclusions:
    input:
        paths.stages(),
    output:
        paths.exclusions,
    log:
        paths.log("exclusions"),
    benchmark:
        paths.benchmark("exclusions")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        **depends.on("exclusions"),
        stages={patient: paths.stages_of(patient) for patient in cohort.ids()},
        table=dict(cohort.problems),
        stops=lambda wildcards: stops_at_exclusions(paths),
    message:
        "Exclusions: the status that every stage left of every patient"
    script:
        "../workflow_scripts/exclusions.py"


rule plan:
    input:
        problems=paths.exclusions,
    output:
        splits=paths.splits,
        cohort=paths.cohort,
    log:
        paths.log("plan"),
    benchmark:
        paths.benchmark("plan")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(2000, 10),
    params:
        **depends.on("plan"),
        patients=[vars(patient) for patient in cohort.patients],
        seed=settings.study.seed,
    message:
        "Plan: folds by patient"
    script:
        "../workflow_scripts/plan.py"


rule training_plan:
    input:
        splits=paths.splits,
        cohort=paths.cohort,
        problems=paths.exclusions,
    output:
        paths.training_plan,
    log:
        paths.log("training_plan"),
    benchmark:
        paths.benchmark("training_plan")
    conda:
        "../envs/survival.yaml"
    threads: 1
    resources:
        **stage_resources(1000, 10),
    params:
        **depends.on("training_plan"),
        kinds={name: settings.models[name].kind for name in study.networks},
        training={
            name: settings.training_of(name).model_dump(mode="json")
            for name in study.networks
        },
    message:
        "Training plan: what training will do"
    script:
        "../workflow_scripts/training_plan.py"
